#include "dao/server/server.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <expected>
#include <mutex>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dao/base/log.h"
#include "dao/config/check_report.h"
#include "dao/config/load.h"
#include "dao/liminal/mind.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/server/generation.h"
#include "dao/server/inherited_sockets.h"
#include "dao/server/listeners.h"
#include "dao/server/main_queue.h"
#include "dao/server/mind_thread.h"
#include "dao/server/operations.h"
#include "dao/server/roster.h"
#include "dao/server/side_door.h"
#include "dao/server/successor.h"
#include "dao/server/telemetry_service.h"
#include "dao/server/upstream_names.h"
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

std::size_t workers_of(const config::Server& server) {
  return server.workers != 0 ? server.workers : std::max(1U, std::thread::hardware_concurrency());
}

class Process final : private Operations {
 public:
  explicit Process(AdminFactory& admin) : admin_factory_(admin) {}

  int run(config::Config config);

 private:
  // A configuration that is ready to come into use.
  struct Prepared {
    std::shared_ptr<const Generation> generation;
    Listeners::Plan listeners;
    std::optional<SideDoor::Opened> telemetry;  // nothing: as it is
    std::optional<SideDoor::Opened> admin;
    std::shared_ptr<telemetry::AccessLog> log;
  };

  void make_workers(const config::Config& config);
  std::expected<Prepared, std::string> prepare(config::Config config);
  std::expected<std::optional<SideDoor::Opened>, std::string> open_admin(const config::Config& config);
  std::expected<std::shared_ptr<telemetry::AccessLog>, std::string> open_access_log(
      const config::AccessLog& wanted) const;
  void wait_for_addresses(const config::Config& config);
  void adopt(Prepared prepared);
  void give_orders(Prepared& prepared);
  void replace_side_services(const config::Config& config, Prepared& prepared);
  void reload(std::string_view why);
  void reload_failed(std::string_view why, const std::string& reason);
  int obey_signals();
  // The successor's process id, or 0 if there is none and this process carries on.
  pid_t upgrade();
  int drain(std::string_view why, bool handed_over);
  void unlink_sockets() const;
  std::string metrics() const;
  [[nodiscard]] std::shared_ptr<const Generation> generation() const;
  [[nodiscard]] std::shared_ptr<telemetry::AccessLog> access_log() const;
  [[noreturn]] void end_at_once(int status, std::string_view why) const;

  // Operations
  [[nodiscard]] std::shared_ptr<const config::Config> config() const override { return generation()->config; }
  [[nodiscard]] ReloadStatus reloads() const override;
  [[nodiscard]] std::vector<Listening> listening() const override;
  [[nodiscard]] WallTime started_at() const override { return started_at_; }
  [[nodiscard]] Nanoseconds uptime() const override { return clock_.now() - started_; }
  [[nodiscard]] bool ready() const override { return ready_; }
  [[nodiscard]] std::int64_t max_connections() const override { return connections_.most(); }
  [[nodiscard]] std::size_t workers() const override { return worker_count_; }
  [[nodiscard]] std::vector<const sense::Shard*> shards() const override;
  [[nodiscard]] const sense::InFlight& in_flight() const override { return in_flight_; }
  [[nodiscard]] sense::Admission& admission() override { return admission_; }
  [[nodiscard]] sense::ViewPtr view() const override { return mind_thread_->latest(); }
  void explain(const ExplainQuestion& question, const Tell& tell) override;

  const SystemClock clock_;
  const Instant started_ = clock_.now();
  const WallTime started_at_ = clock_.wall_now();
  AdminFactory& admin_factory_;
  sigset_t signals_{};
  std::unique_ptr<MainQueue> queue_;
  std::size_t worker_count_ = 1;
  std::size_t open_files_ = 0;
  const Program program_ = Program::running();
  std::unique_ptr<InheritedSockets> inherited_;  // null once the process is ready
  ConnectionLimit connections_{ConnectionLimit::kNone};
  sense::InFlight in_flight_{0};
  sense::Admission admission_{0};
  std::vector<std::unique_ptr<sense::Shard>> shards_;
  std::unique_ptr<Roster> roster_;
  std::unique_ptr<Listeners> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<liminal::Mind> mind_;
  std::unique_ptr<MindThread> mind_thread_;  // gives Views to the workers: ends before them
  std::unique_ptr<UpstreamNames> names_;     // and these addresses
  SideDoor telemetry_;
  SideDoor admin_;
  std::atomic<bool> ready_{false};
  bool handed_over_ = false;

  mutable std::mutex current_mutex_;  // guards what follows: the main thread changes it, others look
  std::shared_ptr<const Generation> generation_;
  std::shared_ptr<telemetry::AccessLog> access_log_;
  std::vector<Listening> listening_;
  ReloadStatus reloads_;
};

int Process::run(config::Config config) {
  log::set_level(level_of(config.telemetry.log_level));
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, MainQueue::signal()}) {
    sigaddset(&signals_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  queue_ = std::make_unique<MainQueue>();

  open_files_ = raise_open_files_limit();
  worker_count_ = workers_of(config.server);
  log::info("starting",
            {{"version", kVersion}, {"config", config.source}, {"workers", worker_count_}, {"pid", getpid()}});
  auto inherited = InheritedSockets::from_environment();
  std::string failure = inherited ? std::string() : inherited.error();
  if (inherited) {
    inherited_ = *std::move(inherited);
    make_workers(config);
    auto prepared = prepare(std::move(config));
    if (prepared) {
      adopt(*std::move(prepared));
    } else {
      failure = std::move(prepared.error());
    }
  }
  if (!failure.empty()) {
    log::error("cannot start", {{"reason", failure}});
    log::flush();
    return 1;
  }
  const std::shared_ptr<const config::Config> in_use = this->config();
  wait_for_addresses(*in_use);
  ready_ = true;
  log::info("ready", {{"routes", in_use->rules.size()},
                      {"upstreams", in_use->upstreams.size()},
                      {"max_connections", connections_.most()}});
  inherited_->report_ready();
  inherited_.reset();
  sd_notifyf(0, "READY=1\nSTATUS=Proxying %zu routes to %zu upstreams", in_use->rules.size(), in_use->upstreams.size());
  const int status = obey_signals();
  log::flush();
  return status;
}

void Process::make_workers(const config::Config& config) {
  // Every worker, and the mind, must let go of a number.
  roster_ = std::make_unique<Roster>(worker_count_ + 1);
  listeners_ = std::make_unique<Listeners>(worker_count_);
  const auto released = [this](std::size_t, const Released& numbers) {
    queue_->post([this, numbers] {
      roster_->release_upstreams(numbers.upstreams);
      roster_->release_rules(numbers.rules);
    });
  };
  std::random_device entropy;
  for (std::size_t i = 0; i < worker_count_; ++i) {
    shards_.push_back(std::make_unique<sense::Shard>(config.rules.size(), config.upstreams.size()));
    const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
    workers_.push_back(std::make_unique<Worker>(Worker::Surroundings{.number = i,
                                                                     .shard = *shards_[i],
                                                                     .in_flight = in_flight_,
                                                                     .admission = admission_,
                                                                     .connections = connections_,
                                                                     .released = released},
                                                seed));
  }
  names_ = std::make_unique<UpstreamNames>([this](std::uint32_t upstream, const net::Resolution& resolution) {
    for (const auto& worker : workers_) worker->resolved(upstream, resolution);
    mind_thread_->resolved(upstream, resolution.addresses);
  });
}

// Opens and reads all that the configuration needs; nothing of it is in use before adopt().
std::expected<Process::Prepared, std::string> Process::prepare(config::Config config) {
  if (!roster_->number(config)) {
    return std::unexpected(
        fmt::format("too many upstreams or rules: at most {} of each, with those that others still use, can be told "
                    "apart at once",
                    sense::kMostNumbers));
  }
  in_flight_.grow(roster_->upstreams());
  admission_.grow(roster_->upstreams());
  for (const auto& shard : shards_) shard->grow(roster_->rules(), roster_->upstreams());
  for (const std::uint32_t upstream : roster_->added_upstreams()) admission_.forget(upstream);

  const auto prepared = [&]() -> std::expected<Prepared, std::string> {
    const std::shared_ptr<const Generation> before = generation();
    const std::uint64_t number = before ? before->number + 1 : 1;
    std::random_device entropy;
    const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
    const auto shared = std::make_shared<const config::Config>(std::move(config));
    auto made = Generation::make(number, shared, before.get(), seed);
    if (!made) return std::unexpected(std::move(made.error()));
    auto listeners = listeners_->plan(shared->server, inherited_.get());
    if (!listeners) return std::unexpected(std::move(listeners.error()));
    auto telemetry = telemetry_.open(shared->telemetry.prometheus_bind, false, inherited_.get());
    if (!telemetry) return std::unexpected(std::move(telemetry.error()));
    auto admin = open_admin(*shared);
    if (!admin) return std::unexpected(std::move(admin.error()));
    auto log = open_access_log(shared->telemetry.access_log);
    if (!log) return std::unexpected(std::move(log.error()));
    return Prepared{.generation = *std::move(made),
                    .listeners = *std::move(listeners),
                    .telemetry = *std::move(telemetry),
                    .admin = *std::move(admin),
                    .log = *std::move(log)};
  };
  auto outcome = prepared();
  if (!outcome) {
    roster_->give_up();
    return outcome;
  }
  // It should be known where to find whoever is new before requests go there.
  names_->watch(*outcome->generation->config);
  if (generation()) wait_for_addresses(*outcome->generation->config);
  return outcome;
}

// Until every upstream was looked for, found or not. The resolver reports within its timeout.
void Process::wait_for_addresses(const config::Config& config) {
  constexpr Milliseconds kGrace{500};
  names_->wait(config.dns.timeout + kGrace);
}

std::expected<std::optional<SideDoor::Opened>, std::string> Process::open_admin(const config::Config& config) {
  const config::Admin& admin = config.admin;
  bool make_anew = false;
  if (admin.bind) {
    const auto changed = admin_factory_.prepare(config);
    if (!changed) return std::unexpected(changed.error());
    make_anew = *changed;
  }
  // Whoever can connect to the unix socket may do everything: its file is for our own user from its first moment on.
  constexpr mode_t kOwnerOnly = 0177;
  const mode_t before = umask(kOwnerOnly);
  auto opened = admin_.open(admin.bind, make_anew, inherited_.get());
  umask(before);
  if (opened || admin.bind_given) return opened;
  log::warning("serving without the admin API", {{"reason", opened.error()}});
  return std::nullopt;
}

std::expected<std::shared_ptr<telemetry::AccessLog>, std::string> Process::open_access_log(
    const config::AccessLog& wanted) const {
  const std::shared_ptr<const Generation> before = generation();
  if (before && before->config->telemetry.access_log == wanted) return access_log_;
  if (wanted.path.empty()) return nullptr;
  const auto format = wanted.format == config::AccessLogFormat::json ? telemetry::AccessLogFormat::json
                                                                     : telemetry::AccessLogFormat::combined;
  auto opened = telemetry::AccessLog::open({wanted.path, format, wanted.buffer_bytes, worker_count_});
  if (opened) return *std::move(opened);
  return std::unexpected(
      fmt::format("cannot open the access log {}: {}", wanted.path, std::strerror(opened.error().sys_errno)));
}

// From here on nothing fails.
void Process::adopt(Prepared prepared) {
  const std::shared_ptr<const Generation> generation = prepared.generation;
  const config::Config& config = *generation->config;
  log::set_level(level_of(config.telemetry.log_level));
  connections_.set_most(connection_limit(config.server, open_files_));
  give_orders(prepared);
  {
    const std::lock_guard lock(current_mutex_);
    generation_ = generation;
    listening_.clear();
    for (const Listeners::Listener& listener : listeners_->all()) {
      listening_.push_back({listener.settings.name, listener.bound.text()});
    }
    reloads_.generation = generation->number;
    reloads_.applied_at = reloads_.last_at = clock_.wall_now();
  }
  const std::shared_ptr<const config::Config> in_use[] = {generation->config};
  const Roster::Leaving leaving = roster_->keep(in_use);
  names_->unwatch(leaving.upstreams);
  if (!mind_thread_) {
    mind_ = std::make_unique<liminal::Mind>(
        generation->config,
        liminal::Mind::Senses{.shards = shards(), .in_flight = in_flight_, .admission = admission_});
    mind_thread_ = std::make_unique<MindThread>(*mind_, generation, [this](const sense::ViewPtr& view) {
      for (const auto& worker : workers_) worker->perceive(view);
    });
    mind_thread_->start();
  } else {
    mind_thread_->reconfigure({generation}, [this, leaving] {
      queue_->post([this, leaving] {
        roster_->release_upstreams(leaving.upstreams);
        roster_->release_rules(leaving.rules);
      });
    });
  }
  names_->tell_of(config);
  {
    const std::lock_guard lock(current_mutex_);
    access_log_.swap(prepared.log);  // what the old one still holds is written when that goes, without the lock
  }
  replace_side_services(config, prepared);
}

// When it returns, every request that begins finds the new configuration.
void Process::give_orders(Prepared& prepared) {
  std::vector<bool> seated(roster_->upstreams(), true);
  for (const std::uint32_t upstream : roster_->added_upstreams()) seated[upstream] = false;
  std::vector<std::vector<Entry>> entries =
      listeners_->adopt(std::move(prepared.listeners), prepared.generation->config->server);
  const auto obeyed = std::make_shared<std::counting_semaphore<>>(0);
  for (std::size_t i = 0; i < worker_count_; ++i) {
    Adoption adoption = workers_[i]->prepare(prepared.generation, seated);
    // Requests may go there before tell_of() tells.
    for (const Adoption::NewSeat& added : adoption.seats) {
      if (const auto known = names_->known_of(added.upstream)) added.seat->resolved(*known);
    }
    workers_[i]->obey({.adoption = std::move(adoption),
                       .entries = std::move(entries[i]),
                       .clients = listeners_->clients(),
                       .log = prepared.log},
                      [obeyed] { obeyed->release(); });
    if (!mind_thread_) workers_[i]->start();
  }
  constexpr auto kPatience = std::chrono::seconds(10);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::size_t i = 0; i < worker_count_; ++i) {
    if (obeyed->try_acquire_until(deadline)) continue;
    log::error("a worker has not taken the configuration yet", {{"seconds", kPatience.count()}});
    break;
  }
}

void Process::replace_side_services(const config::Config& config, Prepared& prepared) {
  if (prepared.telemetry) {
    const int fd = std::exchange(prepared.telemetry->fd, -1);
    std::unique_ptr<SideService> service;
    if (fd >= 0) {
      log::info("telemetry", {{"address", prepared.telemetry->address.text()}});
      service = std::make_unique<TelemetryService>(fd, [this] { return metrics(); }, [this] { return ready_.load(); });
    }
    telemetry_.replace(config.telemetry.prometheus_bind, fd, std::move(service));
  }
  if (prepared.admin) {
    const int fd = std::exchange(prepared.admin->fd, -1);
    std::unique_ptr<SideService> service;
    if (fd >= 0) {
      log::info("admin", {{"address", prepared.admin->address.text()}});
      service = admin_factory_.make(fd, prepared.admin->address, *this);
    }
    admin_.replace(config.admin.bind, fd, std::move(service));
  }
}

void Process::reload(std::string_view why) {
  queue_->run();  // numbers that were released since can be used anew
  const std::shared_ptr<const config::Config> before = config();
  log::info("reloading", {{"why", why}, {"config", before->source}});
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
             static_cast<long long>(clock_.now().time_since_epoch() / std::chrono::microseconds(1)));
  auto loaded = config::load_file(before->source);
  if (!loaded) return reload_failed(why, config::render_line(loaded.error()));
  if (!loaded->warnings.empty()) {
    log::warning("the configuration has warnings", {{"warning", config::render_line(loaded->warnings)}});
  }
  auto prepared = prepare(std::move(loaded->config));
  if (!prepared) return reload_failed(why, prepared.error());
  adopt(*std::move(prepared));
  const std::shared_ptr<const config::Config> now = config();
  {
    const std::lock_guard lock(current_mutex_);
    ++reloads_.succeeded;
    reloads_.last_succeeded = true;
    reloads_.last_error.clear();
    reloads_.pending_restart.clear();
    if (workers_of(now->server) != worker_count_) {
      reloads_.pending_restart.emplace_back("server.workers");
    }
  }
  for (const std::string& key : reloads_.pending_restart) {
    log::warning("needs a restart to change", {{"key", key}});
  }
  log::info("reloaded", {{"why", why},
                         {"generation", reloads_.generation},
                         {"routes", now->rules.size()},
                         {"upstreams", now->upstreams.size()}});
  sd_notifyf(0, "READY=1\nSTATUS=Proxying %zu routes to %zu upstreams", now->rules.size(), now->upstreams.size());
}

void Process::reload_failed(std::string_view why, const std::string& reason) {
  log::error("reload failed, nothing was changed", {{"why", why}, {"reason", reason}});
  sd_notify(0, "READY=1");
  const std::lock_guard lock(current_mutex_);
  ++reloads_.failed;
  reloads_.last_succeeded = false;
  reloads_.last_error = reason;
  reloads_.last_at = clock_.wall_now();
}

std::shared_ptr<const Generation> Process::generation() const {
  const std::lock_guard lock(current_mutex_);
  return generation_;
}

std::shared_ptr<telemetry::AccessLog> Process::access_log() const {
  const std::lock_guard lock(current_mutex_);
  return access_log_;
}

ReloadStatus Process::reloads() const {
  const std::lock_guard lock(current_mutex_);
  return reloads_;
}

std::vector<Operations::Listening> Process::listening() const {
  const std::lock_guard lock(current_mutex_);
  return listening_;
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

std::string Process::metrics() const {
  const std::vector<const sense::Shard*> all = shards();
  const std::shared_ptr<const config::Config> in_use = config();
  std::vector<telemetry::Numbered> routes;
  for (const config::Rule& rule : in_use->rules) routes.push_back({rule.name, rule.number});
  std::vector<telemetry::Numbered> upstreams;
  for (const config::Upstream& upstream : in_use->upstreams) upstreams.push_back({upstream.name, upstream.number});
  telemetry::MetricsSnapshot snapshot;
  snapshot.shards = all;
  snapshot.routes = routes;
  snapshot.upstreams = upstreams;
  snapshot.in_flight = &in_flight_;
  const sense::ViewPtr view = mind_thread_->latest();
  snapshot.view = view.get();
  snapshot.mind_steps = &mind_thread_->step_durations();
  const std::shared_ptr<const telemetry::AccessLog> access_log = this->access_log();
  snapshot.access_log_dropped = access_log ? access_log->dropped() : 0;
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
    if (signal == MainQueue::signal()) {
      queue_->run();
      continue;
    }
    switch (signal) {
      case SIGUSR1:
        log::info("reopening logs", {});
        if (const auto log = access_log()) log->reopen();
        break;
      case SIGHUP:
        reload("SIGHUP");
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
  std::vector<HandedOver> sockets = listeners_->sockets();
  for (const SideDoor* door : {&telemetry_, &admin_}) {
    if (door->fd() >= 0) sockets.push_back({door->key(), {door->fd()}});
  }
  const auto successor = start_successor(program_, sockets, signals_);
  if (!successor) {
    log::error("upgrade failed, carrying on", {{"reason", successor.error()}});
    return 0;
  }
  log::info("upgraded", {{"successor", *successor}});
  return *successor;
}

int Process::drain(std::string_view why, bool handed_over) {
  const Milliseconds timeout = config()->server.drain_timeout;
  log::info("draining", {{"signal", why}, {"timeout_ms", timeout.count()}});
  const auto started = std::chrono::steady_clock::now();
  // Clients that use a kept connection now and then get half of the time to do so once more.
  const auto close_idle_at = handed_over ? started + timeout / 2 : started;
  if (handed_over) {
    handed_over_ = true;
    telemetry_.close(true);
    admin_.close(true);
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
  const auto deadline = started + timeout;
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
  names_->stop();
  mind_thread_->stop();
  telemetry_.close(false);
  admin_.close(false);
  workers_.clear();
  access_log_.reset();
  unlink_sockets();
  log::info("stopped", {});
  return 0;
}

void Process::unlink_sockets() const {
  if (handed_over_) return;
  for (const std::string& path : listeners_->unix_paths()) unlink(path.c_str());
  for (const SideDoor* door : {&telemetry_, &admin_}) {
    if (!door->unix_path().empty()) unlink(door->unix_path().c_str());
  }
}

// Threads are still at work, so nothing is torn down; logs are written out first.
void Process::end_at_once(int status, std::string_view why) const {
  std::int64_t active = 0;
  for (const auto& shard : shards_) active += shard->worker().requests_active.value();
  log::warning(why, {{"requests_active", active}});
  constexpr Milliseconds kPatience{500};
  if (access_log_) access_log_->flush(kPatience);
  unlink_sockets();
  log::flush(kPatience);
  _exit(status);
}

}  // namespace

int run(config::Config config, AdminFactory& admin) {
  Process process(admin);
  return process.run(std::move(config));
}

}  // namespace dao::server
