#include "dao/server/server.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <expected>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dao/base/log.h"
#include "dao/flow/shared.h"
#include "dao/gate/tls_listener.h"
#include "dao/liminal/mind.h"
#include "dao/net/listener.h"
#include "dao/net/resolver.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/server/inherited_sockets.h"
#include "dao/server/mind_thread.h"
#include "dao/server/operations.h"
#include "dao/server/successor.h"
#include "dao/server/telemetry_service.h"
#include "dao/server/upstream_tls.h"
#include "dao/server/version.h"
#include "dao/server/worker.h"
#include "dao/telemetry/access_log.h"
#include "dao/telemetry/metrics.h"

namespace dao::server {

namespace {

log::Level level_of(config::LogLevel level) {
  switch (level) {
    case config::LogLevel::debug:
      return log::Level::debug;
    case config::LogLevel::info:
      return log::Level::info;
    case config::LogLevel::warning:
      return log::Level::warning;
    case config::LogLevel::error:
      return log::Level::error;
  }
  return log::Level::info;
}

// Every descriptor the system grants us, and how many there are.
std::size_t raise_open_files_limit() {
  rlimit limit{};
  constexpr std::size_t kUnknown = 1024;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kUnknown;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

// A client connection may need a second descriptor for its upstream; some are for DAO itself.
std::int64_t connection_limit(const config::Server& server, std::size_t open_files) {
  if (server.max_connections != 0) return static_cast<std::int64_t>(server.max_connections);
  constexpr std::size_t kReserve = 128;
  return static_cast<std::int64_t>(open_files > 2 * kReserve ? (open_files - kReserve) / 2 : open_files / 2);
}

std::expected<net::SocketAddress, std::string> address_of(const config::Address& address) {
  const auto parsed = address.kind == config::Address::Kind::unix_socket
                          ? net::SocketAddress::from_path(address.path)
                          : net::SocketAddress::from_ip(address.host, address.port);
  if (!parsed) return std::unexpected("cannot listen on " + address.text + ": not a usable address");
  return *parsed;
}

// Every address at once is IPv6 with IPv4 inside; on a machine without IPv6 it is IPv4.
std::expected<net::ListenSockets, std::string> open_anew(const config::Address& address, unsigned workers) {
  if (address.kind == config::Address::Kind::inherited) {
    return std::unexpected("cannot listen on " + address.text +
                           ": no such socket was passed (is the .socket unit started, is FileDescriptorName= right?)");
  }
  const auto wanted = address_of(address);
  if (!wanted) return std::unexpected(wanted.error());
  auto sockets = net::open_listeners(*wanted, workers);
  const bool any = address.kind == config::Address::Kind::tcp && address.host.empty();
  if (!sockets && any && access("/proc/net/if_inet6", F_OK) != 0) {
    const auto v4 = net::SocketAddress::from_ip("0.0.0.0", address.port);
    if (v4) return net::open_listeners(*v4, workers);
  }
  return sockets;
}

class Process final : private Operations {
 public:
  Process(std::shared_ptr<const config::Config> config, AdminFactory& admin)
      : config_(std::move(config)), admin_factory_(admin) {}

  int run();

 private:
  bool prepare_tls();
  bool prepare_filters();
  bool prepare_admin();
  bool open_listeners();
  bool open_admin();
  std::expected<net::ListenSockets, std::string> open(const config::Address& address, unsigned workers,
                                                      log::Level failure = log::Level::error);
  bool share_out(std::size_t listener, const std::vector<int>& fds);
  bool open_access_log();
  void start_workers();
  void start_telemetry();
  void start_admin();
  void resolve_upstreams();
  void wait_for_addresses();
  int obey_signals();
  // The successor's process id, or 0 if there is none and this process carries on.
  pid_t upgrade();
  int drain(std::string_view why, bool handed_over);
  std::string metrics() const;
  [[noreturn]] void end_at_once(int status, std::string_view why) const;

  // Operations
  [[nodiscard]] const config::Config& config() const override { return *config_; }
  [[nodiscard]] const std::vector<Listening>& listening() const override { return addresses_; }
  [[nodiscard]] WallTime started_at() const override { return started_at_; }
  [[nodiscard]] Nanoseconds uptime() const override { return clock_.now() - started_; }
  [[nodiscard]] bool ready() const override { return ready_; }
  [[nodiscard]] std::int64_t max_connections() const override { return limits_->process.most(); }
  [[nodiscard]] std::size_t workers() const override { return worker_count_; }
  [[nodiscard]] std::vector<const sense::Shard*> shards() const override;
  [[nodiscard]] const sense::InFlight& in_flight() const override { return *in_flight_; }
  [[nodiscard]] sense::Admission& admission() override { return *admission_; }
  [[nodiscard]] sense::ViewPtr view() const override { return mind_thread_->latest(); }
  void explain(const ExplainQuestion& question, const Tell& tell) override;

  const SystemClock clock_;
  const Instant started_ = clock_.now();
  const WallTime started_at_ = clock_.wall_now();
  std::shared_ptr<const config::Config> config_;
  AdminFactory& admin_factory_;
  sigset_t signals_{};
  unsigned worker_count_ = 1;
  std::size_t open_files_ = 0;
  gate::TlsListeners tls_;
  UpstreamTlsContexts upstream_tls_;
  std::shared_ptr<flow::Shared> filters_;
  const Program program_ = Program::running();
  std::unique_ptr<InheritedSockets> inherited_;
  std::vector<HandedOver> listening_;                 // all listening sockets, telemetry's included
  std::vector<std::vector<Worker::Socket>> sockets_;  // of each worker
  std::vector<Listening> addresses_;                  // of the listeners for clients
  int telemetry_fd_ = -1;
  int admin_fd_ = -1;
  net::SocketAddress admin_address_;
  std::vector<std::string> unix_paths_;
  std::vector<std::string> route_names_;
  std::vector<std::string> upstream_names_;
  std::unique_ptr<telemetry::AccessLog> access_log_;
  std::unique_ptr<sense::InFlight> in_flight_;
  std::unique_ptr<sense::Admission> admission_;
  std::vector<std::unique_ptr<sense::Shard>> shards_;
  std::unique_ptr<ConnectionLimits> limits_;
  std::unique_ptr<gate::ClientLimits> client_limits_;
  std::unique_ptr<liminal::Mind> mind_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<MindThread> mind_thread_;  // gives Views to the workers: ends before them
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<TelemetryService> telemetry_;
  std::unique_ptr<SideService> admin_;
  std::atomic<bool> ready_{false};

  std::mutex resolving_mutex_;
  std::condition_variable resolved_;
  std::set<std::size_t> unresolved_;
};

int Process::run() {
  log::set_level(level_of(config_->telemetry.log_level));
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  open_files_ = raise_open_files_limit();
  worker_count_ =
      config_->server.workers != 0 ? config_->server.workers : std::max(1U, std::thread::hardware_concurrency());
  log::info("starting",
            {{"version", kVersion}, {"config", config_->source}, {"workers", worker_count_}, {"pid", getpid()}});
  if (!prepare_tls() || !prepare_filters() || !prepare_admin() || !open_listeners() || !open_admin() ||
      !open_access_log()) {
    log::flush();
    return 1;
  }
  start_workers();
  resolve_upstreams();
  start_telemetry();
  start_admin();
  wait_for_addresses();
  ready_ = true;
  log::info("ready", {{"routes", config_->rules.size()},
                      {"upstreams", config_->upstreams.size()},
                      {"max_connections", limits_->process.most()}});
  inherited_->report_ready();
  inherited_.reset();
  sd_notifyf(0, "READY=1\nSTATUS=Proxying %zu routes to %zu upstreams", config_->rules.size(),
             config_->upstreams.size());
  const int status = obey_signals();
  log::flush();
  return status;
}

bool Process::prepare_tls() {
  auto opened = tls_.open(config_->server.listeners);
  if (opened) {
    auto made = make_upstream_tls(*config_);
    if (made) {
      upstream_tls_ = *std::move(made);
      return true;
    }
    opened = std::unexpected(made.error());
  }
  log::error("cannot start", {{"reason", opened.error()}});
  return false;
}

bool Process::prepare_filters() {
  std::random_device entropy;
  auto made = flow::Shared::make(*config_, (std::uint64_t{entropy()} << 32U) | entropy());
  if (!made) {
    log::error("cannot start", {{"reason", made.error()}});
    return false;
  }
  filters_ = *std::move(made);
  return true;
}

bool Process::prepare_admin() {
  if (!config_->admin.bind) return true;
  const auto prepared = admin_factory_.prepare(*config_);
  if (!prepared) log::error("cannot start", {{"reason", prepared.error()}});
  return prepared.has_value();
}

// What was handed to us is taken over; everything else is opened.
std::expected<net::ListenSockets, std::string> Process::open(const config::Address& address, unsigned workers,
                                                             log::Level failure) {
  std::expected<net::ListenSockets, std::string> sockets;
  if (std::vector<int> fds = inherited_->take(address); !fds.empty()) {
    const net::SocketAddress bound = net::SocketAddress::local_of(fds.front());
    sockets = net::ListenSockets{.fds = std::move(fds), .address = bound};
  } else {
    sockets = open_anew(address, workers);
  }
  if (!sockets && failure == log::Level::error) {
    log::error("cannot start", {{"reason", sockets.error()}});
  } else if (!sockets) {
    log::warning("serving without this listener", {{"reason", sockets.error()}});
  }
  if (!sockets) return sockets;
  if (sockets->address.is_unix() && address.kind == config::Address::Kind::unix_socket) {
    unix_paths_.push_back(address.path);
  }
  listening_.push_back({InheritedSockets::key_of(address), sockets->fds});
  return sockets;
}

// Every worker accepts from a socket, and every socket has a worker: what waits in it would wait for ever.
bool Process::share_out(std::size_t listener, const std::vector<int>& fds) {
  for (std::size_t i = 0; i < std::max<std::size_t>(fds.size(), worker_count_); ++i) {
    const int fd = i < fds.size() ? fds[i] : fcntl(fds[i % fds.size()], F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
      log::error("cannot start", {{"reason", fmt::format("cannot share a socket: {}", std::strerror(errno))}});
      return false;
    }
    sockets_[i % worker_count_].push_back({listener, fd});
  }
  return true;
}

bool Process::open_listeners() {
  auto inherited = InheritedSockets::from_environment();
  if (!inherited) {
    log::error("cannot start", {{"reason", inherited.error()}});
    return false;
  }
  inherited_ = std::move(*inherited);
  sockets_.resize(worker_count_);
  std::size_t number = 0;
  for (const config::Listener& listener : config_->server.listeners) {
    const auto sockets = open(listener.address, worker_count_);
    if (!sockets || !share_out(number++, sockets->fds)) return false;
    log::info("listening", {{"listener", listener.name}, {"address", sockets->address.text()}});
    addresses_.push_back({listener.name, sockets->address.text()});
  }
  if (config_->telemetry.prometheus_bind) {
    const auto sockets = open(*config_->telemetry.prometheus_bind, 1);
    if (!sockets) return false;
    telemetry_fd_ = sockets->fds.front();
    log::info("telemetry", {{"address", sockets->address.text()}});
  }
  return true;
}

bool Process::open_admin() {
  const auto& bind = config_->admin.bind;
  if (!bind) return true;
  // Whoever can connect to the unix socket may do everything: its file is for our own user from its first moment on.
  constexpr mode_t kOwnerOnly = 0177;
  const mode_t before = umask(kOwnerOnly);
  const auto sockets = open(*bind, 1, config_->admin.bind_given ? log::Level::error : log::Level::warning);
  umask(before);
  if (!sockets) return !config_->admin.bind_given;
  admin_fd_ = sockets->fds.front();
  admin_address_ = sockets->address;
  log::info("admin", {{"address", admin_address_.text()}});
  return true;
}

bool Process::open_access_log() {
  const config::AccessLog& wanted = config_->telemetry.access_log;
  if (wanted.path.empty()) return true;
  const auto format = wanted.format == config::AccessLogFormat::json ? telemetry::AccessLogFormat::json
                                                                     : telemetry::AccessLogFormat::combined;
  auto opened = telemetry::AccessLog::open({wanted.path, format, wanted.buffer_bytes, worker_count_});
  if (!opened) {
    log::error("cannot start", {{"reason", fmt::format("cannot open the access log {}: {}", wanted.path,
                                                       std::strerror(opened.error().sys_errno))}});
    return false;
  }
  access_log_ = std::move(*opened);
  return true;
}

void Process::start_workers() {
  for (const config::Rule& rule : config_->rules) route_names_.push_back(rule.name);
  for (const config::Upstream& upstream : config_->upstreams) upstream_names_.push_back(upstream.name);
  in_flight_ = std::make_unique<sense::InFlight>(upstream_names_.size());
  admission_ = std::make_unique<sense::Admission>(upstream_names_.size());
  limits_ = std::make_unique<ConnectionLimits>(connection_limit(config_->server, open_files_));
  for (const config::Listener& listener : config_->server.listeners) {
    limits_->add_listener(static_cast<std::int64_t>(listener.max_connections));
  }
  client_limits_ = std::make_unique<gate::ClientLimits>(config_->server);
  std::random_device entropy;
  for (std::size_t i = 0; i < worker_count_; ++i) {
    shards_.push_back(std::make_unique<sense::Shard>(route_names_.size(), upstream_names_.size()));
    telemetry::AccessLogLane* lane = access_log_ ? &access_log_->lane(i) : nullptr;
    const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
    workers_.push_back(std::make_unique<Worker>(config_, sockets_[i], *shards_[i], *in_flight_, *admission_, *limits_,
                                                *client_limits_, lane, seed, tls_, upstream_tls_, filters_));
  }
  const auto slots = std::make_shared<FreedSlots>(workers_.size());
  for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->share_slots(slots, i);
  for (const auto& worker : workers_) worker->start();
  mind_ = std::make_unique<liminal::Mind>(
      config_, liminal::Mind::Senses{.shards = shards(), .in_flight = *in_flight_, .admission = *admission_});
  mind_thread_ = std::make_unique<MindThread>(*mind_, config_, upstream_tls_, [this](const sense::ViewPtr& view) {
    for (const auto& worker : workers_) worker->perceive(view);
  });
  mind_thread_->start();
}

void Process::resolve_upstreams() {
  net::Resolver::Settings settings;
  for (const config::Address& server : config_->dns.servers) settings.servers.push_back(server.text);
  settings.timeout = config_->dns.timeout;
  settings.min_ttl = config_->dns.min_ttl;
  settings.max_ttl = config_->dns.max_ttl;
  settings.seed = std::random_device{}();
  for (std::size_t i = 0; i < config_->upstreams.size(); ++i) {
    const config::Url& url = config_->upstreams[i].url;
    if (url.scheme == config::Scheme::unix_socket || url.host_is_ip) continue;
    if (!resolver_) resolver_ = std::make_unique<net::Resolver>(settings);
    {
      const std::lock_guard lock(resolving_mutex_);
      unresolved_.insert(i);
    }
    resolver_->watch(url.host, url.port, [this, i](const net::Resolution& resolution) {
      // The workers first: who has read the log line may count on it.
      for (const auto& worker : workers_) worker->resolved(i, resolution);
      mind_thread_->resolved(i, resolution.addresses);
      if (resolution.error) {
        log::warning("cannot resolve upstream", {{"upstream", upstream_names_[i]},
                                                 {"host", config_->upstreams[i].url.host},
                                                 {"error", resolution.error->detail},
                                                 {"addresses_kept", resolution.addresses.size()}});
      } else {
        log::info("resolved upstream", {{"upstream", upstream_names_[i]},
                                        {"host", config_->upstreams[i].url.host},
                                        {"addresses", resolution.addresses.size()}});
      }
      const std::lock_guard lock(resolving_mutex_);
      unresolved_.erase(i);
      resolved_.notify_all();
    });
  }
}

void Process::start_telemetry() {
  if (telemetry_fd_ < 0) return;
  telemetry_ =
      std::make_unique<TelemetryService>(telemetry_fd_, [this] { return metrics(); }, [this] { return ready_.load(); });
  telemetry_->start();
}

void Process::start_admin() {
  if (admin_fd_ < 0) return;
  admin_ = admin_factory_.make(admin_fd_, admin_address_, *this);
  admin_->start();
}

std::vector<const sense::Shard*> Process::shards() const {
  std::vector<const sense::Shard*> all;
  for (const auto& shard : shards_) all.push_back(shard.get());
  return all;
}

void Process::explain(const ExplainQuestion& question, const Tell& tell) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i]->explain(question, [tell, i](ExplainAnswer answer) { tell(i, std::move(answer)); });
  }
}

// Ready means that every upstream was looked for, found or not. The resolver reports within its timeout.
void Process::wait_for_addresses() {
  std::unique_lock lock(resolving_mutex_);
  constexpr Milliseconds kGrace{500};
  resolved_.wait_for(lock, config_->dns.timeout + kGrace, [this] { return unresolved_.empty(); });
}

std::string Process::metrics() const {
  const std::vector<const sense::Shard*> all = shards();
  telemetry::MetricsSnapshot snapshot;
  snapshot.shards = all;
  snapshot.routes = route_names_;
  snapshot.upstreams = upstream_names_;
  snapshot.in_flight = in_flight_.get();
  const sense::ViewPtr view = mind_thread_->latest();
  snapshot.view = view.get();
  snapshot.mind_steps = &mind_thread_->step_durations();
  snapshot.access_log_dropped = access_log_ ? access_log_->dropped() : 0;
  snapshot.log_dropped = log::dropped();
  snapshot.ready = ready_;
  snapshot.version = kVersion;
  snapshot.process = telemetry::read_process_figures();
  return telemetry::render_metrics(snapshot);
}

int Process::obey_signals() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    switch (signal) {
      case SIGUSR1:
        log::info("reopening logs", {});
        if (access_log_) access_log_->reopen();
        break;
      case SIGHUP:
        log::warning("SIGHUP: this version does not reload its configuration; restart it",
                     {{"config", config_->source}});
        break;
      case SIGUSR2:
        if (const pid_t successor = upgrade(); successor != 0) {
          sd_notifyf(0, "MAINPID=%d", static_cast<int>(successor));
          return drain("upgrade", true);
        }
        break;
      default:
        return drain(signal == SIGTERM ? "SIGTERM" : "SIGINT", false);
    }
  }
}

pid_t Process::upgrade() {
  log::info("upgrading", {{"program", program_.path}});
  const auto successor = start_successor(program_, listening_, signals_);
  if (!successor) {
    log::error("upgrade failed, carrying on", {{"reason", successor.error()}});
    return 0;
  }
  log::info("upgraded", {{"successor", *successor}});
  return *successor;
}

int Process::drain(std::string_view why, bool handed_over) {
  log::info("draining", {{"signal", why}, {"timeout_ms", config_->server.drain_timeout.count()}});
  const auto started = std::chrono::steady_clock::now();
  // Clients that use a kept connection now and then get half of the time to do so once more.
  const auto close_idle_at = handed_over ? started + config_->server.drain_timeout / 2 : started;
  if (handed_over) {
    unix_paths_.clear();
    if (telemetry_) telemetry_->stop(true);
    if (admin_) admin_->stop(true);
    for (const auto& worker : workers_) worker->hand_over();
  } else {
    ready_ = false;
    sd_notify(0, "STOPPING=1");
    for (const auto& worker : workers_) worker->drain();
  }

  // Workers end by themselves; meanwhile this thread waits for them, a second signal, or the end of patience.
  std::atomic<bool> ended{false};
  const pthread_t self = pthread_self();
  std::thread waiter([this, &ended, self] {
    for (const auto& worker : workers_) worker->join();
    ended = true;
    pthread_kill(self, SIGUSR1);
  });
  const auto deadline = started + config_->server.drain_timeout;
  bool idle_closed = !handed_over;
  while (!ended) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) end_at_once(0, "drain timeout: closing what is still open");
    if (!idle_closed && now >= close_idle_at) {
      idle_closed = true;
      for (const auto& worker : workers_) worker->close_idle();
    }
    const auto left = (idle_closed ? deadline : close_idle_at) - now;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec wait{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    const int signal = sigtimedwait(&signals_, nullptr, &wait);
    constexpr int kSignalBase = 128;
    if (signal == SIGTERM || signal == SIGINT) end_at_once(kSignalBase + signal, "second signal: ending at once");
  }
  waiter.join();
  if (resolver_) resolver_->stop();
  mind_thread_->stop();
  if (telemetry_) telemetry_->stop(false);
  if (admin_) admin_->stop(false);
  workers_.clear();
  access_log_.reset();
  for (const std::string& path : unix_paths_) unlink(path.c_str());
  log::info("stopped", {});
  return 0;
}

// Threads are still at work, so nothing is torn down; logs are written out first.
void Process::end_at_once(int status, std::string_view why) const {
  std::int64_t active = 0;
  for (const auto& shard : shards_) active += shard->worker().requests_active.value();
  log::warning(why, {{"requests_active", active}});
  constexpr Milliseconds kPatience{500};
  if (access_log_) access_log_->flush(kPatience);
  for (const std::string& path : unix_paths_) unlink(path.c_str());
  log::flush(kPatience);
  _exit(status);
}

}  // namespace

int run(std::shared_ptr<const config::Config> config, AdminFactory& admin) {
  Process process(std::move(config), admin);
  return process.run();
}

}  // namespace dao::server
