#include "dao/gate/tls_listener.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"

namespace dao::gate {

TlsListener::TlsListener(const config::Listener& listener)
    : listener_(listener), tickets_(std::make_shared<TicketKeys>(listener.tls.session_timeout)) {}

std::expected<std::unique_ptr<TlsListener>, std::string> TlsListener::make(const config::Listener& listener) {
  std::unique_ptr<TlsListener> made(new TlsListener(listener));
  made->seen_ = made->look_at_files();
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
  return state;
}

void TlsListener::follow_files() {
  std::string now = look_at_files();
  if (now == seen_) return;
  seen_ = std::move(now);
  auto server = TlsServer::make(listener_, tickets_);
  if (!server) {
    log::error("cannot use the changed certificate files; the old ones stay in use",
               {{"listener", listener_.name}, {"reason", server.error()}});
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    server_ = *std::move(server);
  }
  log::info("certificate files read again", {{"listener", listener_.name}});
}

std::expected<void, std::string> TlsListeners::open(const std::vector<config::Listener>& listeners) {
  bool any = false;
  for (const config::Listener& listener : listeners) {
    listeners_.emplace_back();
    if (listener.tls.certificates.empty()) continue;
    auto made = TlsListener::make(listener);
    if (!made) return std::unexpected(made.error());
    listeners_.back() = *std::move(made);
    any = true;
  }
  if (any) {
    const SignalsBlocked quiet;
    thread_ = std::thread([this] { follow(); });
  }
  return {};
}

TlsListeners::~TlsListeners() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void TlsListeners::follow() {
  constexpr auto kInterval = std::chrono::seconds(1);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kInterval, [this] { return ending_; })) {
    for (const auto& listener : listeners_) {
      if (listener) listener->follow_files();
    }
  }
}

}  // namespace dao::gate
