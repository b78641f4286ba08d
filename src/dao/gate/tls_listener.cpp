#include "dao/gate/tls_listener.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"

namespace dao::gate {

TlsListener::TlsListener(const config::Listener& listener, std::shared_ptr<TicketKeys> tickets)
    : listener_(listener), tickets_(std::move(tickets)) {}

std::expected<std::shared_ptr<TlsListener>, std::string> TlsListener::make(const config::Listener& listener,
                                                                           const TlsListener* before) {
  const bool goes_on = before != nullptr && before->listener_.tls.session_timeout == listener.tls.session_timeout;
  auto tickets = goes_on ? before->tickets_ : std::make_shared<TicketKeys>(listener.tls.session_timeout);
  std::shared_ptr<TlsListener> made(new TlsListener(listener, std::move(tickets)));
  made->read_ = made->seen_ = made->look_at_files();
  auto server = TlsServer::make(listener, made->tickets_);
  if (!server) return std::unexpected(server.error());
  made->server_ = *std::move(server);
  return made;
}

std::string TlsListener::look_at_files() const {
  std::string state;
  const auto look = [&state](const std::string& path) {
    struct stat status{};
    if (path.empty() || stat(path.c_str(), &status) != 0) {
      state += "-;";
      return;
    }
    state += fmt::format("{}.{}.{}.{}.{};", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                         status.st_mtim.tv_nsec, status.st_ctim.tv_nsec);
  };
  for (const config::CertificateFiles& files : listener_.tls.certificates) {
    look(files.cert);
    look(files.key);
    look(files.ocsp);
  }
  look(listener_.tls.client_ca);
  look(listener_.tls.client_crl);
  return state;
}

bool TlsListener::follow_files() {
  std::string now = look_at_files();
  const bool settled = now == seen_;
  seen_ = std::move(now);
  if (!settled) failures_ = 0;
  if (!settled || seen_ == read_) return false;
  auto server = TlsServer::make(listener_, tickets_);
  if (!server && ++failures_ < kFailuresToBelieve) return false;
  failures_ = 0;
  read_ = seen_;
  if (!server) {
    log::error("cannot use the changed certificate files; the old ones stay in use",
               {{"listener", listener_.name}, {"reason", server.error()}});
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    server_ = *std::move(server);
  }
  log::info("certificate files read again", {{"listener", listener_.name}});
  return true;
}

void TlsFollower::follow(std::vector<std::shared_ptr<TlsListener>> listeners) {
  const bool any = !listeners.empty();
  {
    const std::lock_guard lock(mutex_);
    listeners_ = std::move(listeners);
  }
  if (!any || thread_.joinable()) return;
  const SignalsBlocked quiet;
  thread_ = std::thread([this] { run(); });
}

TlsFollower::~TlsFollower() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void TlsFollower::run() {
  constexpr Nanoseconds kInterval = std::chrono::milliseconds(100);
  constexpr int kShare = 100;  // of a CPU that looking may take: one part
  Nanoseconds wait = kInterval;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, wait, [this] { return ending_; })) {
    const auto listeners = listeners_;
    lock.unlock();
    const Instant begin = std::chrono::steady_clock::now();
    bool read = false;
    for (const auto& listener : listeners) read = listener->follow_files() || read;
    const Nanoseconds took = std::chrono::steady_clock::now() - begin;
    wait = read ? kInterval : std::max(kInterval, kShare * took);
    lock.lock();
  }
}

}  // namespace dao::gate
