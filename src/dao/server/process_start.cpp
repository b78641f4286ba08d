#include <fmt/core.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>
#include <utility>

#include "dao/base/log.h"
#include "dao/config/check_report.h"
#include "dao/memory/open_store.h"
#include "dao/server/process.h"
#include "dao/server/version.h"

namespace dao::server {

namespace {

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

}  // namespace

log::Level log_level_of(config::LogLevel level) {
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

std::size_t workers_of(const config::Server& server) {
  return server.workers != 0 ? server.workers : std::max(1U, std::thread::hardware_concurrency());
}

int Process::run(config::LoadAttempt file) {
  config::Config& of_file = file.result->config;
  log::set_level(log_level_of(of_file.telemetry.log_level));
  sigemptyset(&signals_);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, MainQueue::signal()}) {
    sigaddset(&signals_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  queue_ = std::make_unique<MainQueue>();

  open_files_ = raise_open_files_limit();
  worker_count_ = workers_of(of_file.server);
  path_ = of_file.source;
  log::info("starting", {{"version", kVersion}, {"config", path_}, {"workers", worker_count_}, {"pid", getpid()}});
  auto inherited = InheritedSockets::from_environment();
  std::string failure = inherited ? std::string() : inherited.error();
  if (inherited) {
    inherited_ = *std::move(inherited);
    store_settings_ = of_file.memory;
    store_ = memory::open_store(store_settings_, clock_, inherited_->has_predecessor());
    history_ = std::make_unique<ConfigHistory>(*store_, clock_);
    learned_ = std::make_unique<memory::Learned>(*store_, clock_);
    make_workers(of_file);
    file_text_ = config::bundle(file.sources);
    if (const auto unfinished = history_->give_up_unfinished()) {
      log::warning("a transition was under way when the last process ended; nobody has decided for its configuration",
                   {{"snapshot", *unfinished}});
    }
    if (!resume()) {
      const auto begun = begin({.config = std::move(of_file),
                                .document = file.document,
                                .text = file_text_,
                                .author = "start",
                                .reason = {}});
      if (!begun) failure = begun.error();
    }
    follow_files(file.sources);
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

// True: another configuration than the file's goes on, and is in use. What stands in its way now (a port, a
// certificate) must not keep DAO from starting with the file.
bool Process::resume() {
  const auto snapshot = history_->to_resume(file_text_);
  if (!snapshot) return false;
  auto attempt = config::attempt_text(snapshot->text, path_);
  auto& loaded = attempt.result;
  std::string problem;
  if (loaded) {
    const auto begun = begin({.config = std::move(loaded->config),
                              .document = attempt.document,
                              .text = snapshot->text,
                              .author = snapshot->author,
                              .reason = snapshot->reason});
    if (!begun) problem = begun.error();
  } else {
    problem = config::render_line(loaded.error());
  }
  if (!problem.empty()) {
    log::error("the configuration that was applied last cannot be used any more, going by the file",
               {{"snapshot", snapshot->number}, {"reason", problem}});
    return false;
  }
  log::warning("going on with the configuration that was applied last; the file has not changed since",
               {{"snapshot", snapshot->number}, {"author", snapshot->author}, {"reason", snapshot->reason}});
  return true;
}

std::expected<void, std::string> Process::begin(Beginning beginning) {
  auto prepared = prepare(std::move(beginning.config));
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  status_.source = path_;
  status_.author = beginning.author;
  status_.reason = beginning.reason;
  status_.from_file = beginning.text == file_text_;
  status_.etag = fingerprint(beginning.text);
  status_.snapshot = history_->started_with({.author = beginning.author,
                                             .reason = beginning.reason,
                                             .source = path_,
                                             .text = beginning.text,
                                             .file = file_text_});
  text_ = std::make_shared<const std::string>(std::move(beginning.text));
  document_ = std::move(beginning.document);
  adopt(*std::move(prepared));
  replace_side_services();
  return {};
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
  const auto slots = std::make_shared<FreedSlots>(workers_.size());
  for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->share_slots(slots, i);
  names_ = std::make_unique<UpstreamNames>([this](std::uint32_t upstream, const net::Resolution& resolution) {
    for (const auto& worker : workers_) worker->resolved(upstream, resolution);
    mind_thread_->resolved(upstream, resolution.addresses);
  });
}

}  // namespace dao::server
