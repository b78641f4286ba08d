#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <filesystem>
#include <random>
#include <unordered_set>
#include <utility>

#include "dao/base/log.h"
#include "dao/config/check_report.h"
#include "dao/config/diff.h"
#include "dao/server/process.h"
#include "dao/server/telemetry_service.h"
#include "dao/server/version.h"
#include "dao/telemetry/metrics.h"

namespace dao::server {

namespace {

// A client connection may need a second descriptor for its upstream; some are for DAO itself.
std::int64_t connection_limit(const config::Server& server, std::size_t open_files) {
  if (server.max_connections != 0) return static_cast<std::int64_t>(server.max_connections);
  constexpr std::size_t kReserve = 128;
  return static_cast<std::int64_t>(open_files > 2 * kReserve ? (open_files - kReserve) / 2 : open_files / 2);
}

// The routes and upstreams that only the new side of a transition has. An upstream that is another one there under the
// same name has a name of its own for as long.
void add_coming(const config::Config& coming, std::vector<telemetry::Numbered>& routes,
                std::vector<telemetry::Numbered>& upstreams, std::deque<std::string>& new_names) {
  const auto numbers_of = [](const std::vector<telemetry::Numbered>& all) {
    std::unordered_set<std::uint32_t> numbers;
    for (const telemetry::Numbered& one : all) numbers.insert(one.number);
    return numbers;
  };
  const auto known_routes = numbers_of(routes);
  for (const config::Rule& rule : coming.rules) {
    if (!known_routes.contains(rule.number)) routes.push_back({rule.name, rule.number});
  }
  const auto known_upstreams = numbers_of(upstreams);
  std::unordered_set<std::string_view> names;
  for (const telemetry::Numbered& one : upstreams) names.insert(one.name);
  for (const config::Upstream& upstream : coming.upstreams) {
    if (known_upstreams.contains(upstream.number)) continue;
    std::string_view name = upstream.name;
    if (names.contains(name)) name = new_names.emplace_back(upstream.name + " (new)");
    upstreams.push_back({name, upstream.number});
  }
}

Nanoseconds time_of_transition(const ConfigOrder& order, const config::Config& config) {
  if (order.over) return *order.over;
  return order.from == ConfigOrder::From::snapshot ? Milliseconds::zero() : config.liminal.metamorphic.transition;
}

}  // namespace

// The keys whose values are others than those that the process began with, and which it cannot change.
std::vector<std::string> Process::pending_restart(const config::Config& wanted) const {
  const config::Memory& memory = wanted.memory;
  std::vector<std::string> keys;
  if (workers_of(wanted.server) != worker_count_) keys.emplace_back("server.workers");
  if (memory.off != store_settings_.off || memory.path != store_settings_.path) keys.emplace_back("memory.path");
  if (memory.flush_interval != store_settings_.flush_interval) keys.emplace_back("memory.flush_interval_ms");
  if (memory.snapshots != store_settings_.snapshots) keys.emplace_back("memory.snapshots");
  return keys;
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

  std::random_device entropy;
  const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
  const std::shared_ptr<const Generation> before = generation();
  auto made =
      Generation::make(generations_ + 1, std::make_shared<const config::Config>(std::move(config)), before.get(), seed);
  auto outcome = made ? open_for(*made) : std::unexpected(std::move(made.error()));
  if (!outcome) {
    roster_->give_up();
    return outcome;
  }
  ++generations_;
  // It should be known where to find whoever is new before requests go there.
  names_->watch(*outcome->generation->config);
  if (before) wait_for_addresses(*outcome->generation->config);
  return outcome;
}

std::expected<Process::Prepared, std::string> Process::open_for(const std::shared_ptr<const Generation>& generation) {
  const config::Config& config = *generation->config;
  auto listeners = listeners_->plan(config.server, inherited_.get());
  if (!listeners) return std::unexpected(std::move(listeners.error()));
  auto telemetry = telemetry_.open(config.telemetry.prometheus_bind, false, inherited_.get());
  if (!telemetry) return std::unexpected(std::move(telemetry.error()));
  auto admin = open_admin(config);
  if (!admin) return std::unexpected(std::move(admin.error()));
  auto log = open_access_log(config.telemetry.access_log);
  if (!log) return std::unexpected(std::move(log.error()));
  return Prepared{.generation = generation,
                  .listeners = *std::move(listeners),
                  .telemetry = *std::move(telemetry),
                  .admin = *std::move(admin),
                  .log = *std::move(log)};
}

void Process::give_up(Prepared prepared) {
  static_cast<void>(prepared);
  --generations_;
  names_->unwatch(roster_->added_upstreams());
  roster_->give_up();
  names_->watch(*config());  // by the servers and times of the one in use
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
  log::set_level(log_level_of(config.telemetry.log_level));
  connections_.set_most(connection_limit(config.server, open_files_));
  give_orders(prepared);
  {
    const std::lock_guard lock(current_mutex_);
    generation_ = generation;
    listening_.clear();
    for (const Listeners::Listener& listener : listeners_->all()) {
      listening_.push_back({listener.settings.name, listener.bound.text()});
    }
    status_.generation = generation->number;
    status_.applied_at = clock_.wall_now();
  }
  const std::shared_ptr<const config::Config> in_use[] = {generation->config};
  const Roster::Leaving leaving = roster_->keep(in_use);
  names_->unwatch(leaving.upstreams);
  if (!mind_thread_) {
    mind_ = std::make_unique<liminal::Mind>(
        generation->config,
        liminal::Mind::Senses{.shards = shards(), .in_flight = in_flight_, .admission = admission_});
    mind_thread_ = std::make_unique<MindThread>(*mind_, *learned_, generation, [this](const sense::ViewPtr& view) {
      for (const auto& worker : workers_) worker->perceive(view);
      step_transition();
    });
    mind_thread_->start();
  } else {
    reconfigure_mind({generation}, leaving);
  }
  names_->tell_of(config);
  {
    const std::lock_guard lock(current_mutex_);
    access_log_.swap(prepared.log);  // what the old one still holds is written when that goes, without the lock
  }
  if (prepared.telemetry) new_telemetry_.emplace(*std::move(prepared.telemetry));
  if (prepared.admin) new_admin_.emplace(*std::move(prepared.admin));
  keep_watch(config);
}

std::vector<Adoption> Process::seats_for(const std::shared_ptr<const Generation>& generation) {
  std::vector<bool> seated(roster_->upstreams(), true);
  for (const std::uint32_t upstream : roster_->added_upstreams()) seated[upstream] = false;
  std::vector<Adoption> adoptions;
  for (const auto& worker : workers_) {
    adoptions.push_back(worker->prepare(generation, seated));
    // Requests may go there before tell_of() tells.
    for (const Adoption::NewSeat& added : adoptions.back().seats) {
      if (const auto known = names_->known_of(added.upstream)) added.seat->resolved(*known);
    }
  }
  return adoptions;
}

// When it returns, every request that begins finds the new configuration.
void Process::give_orders(Prepared& prepared) {
  // After a transition the workers have all of it.
  std::vector<Adoption> adoptions(worker_count_);
  if (!transition()) adoptions = seats_for(prepared.generation);
  std::vector<std::vector<Entry>> entries =
      listeners_->adopt(std::move(prepared.listeners), prepared.generation->config->server);
  std::size_t next = 0;
  tell_workers([&](Worker& worker, std::function<void()> done) {
    const std::size_t index = next++;
    worker.obey({.adoption = std::move(adoptions[index]),
                 .entries = std::move(entries[index]),
                 .clients = listeners_->clients(),
                 .log = prepared.log},
                std::move(done));
    if (!mind_thread_) worker.start();
  });
}

void Process::replace_side_services() {
  const std::shared_ptr<const config::Config> in_use = config();
  if (new_telemetry_) {
    const int fd = std::exchange(new_telemetry_->fd, -1);
    std::unique_ptr<SideService> service;
    if (fd >= 0) {
      log::info("telemetry", {{"address", new_telemetry_->address.text()}});
      service = std::make_unique<TelemetryService>(fd, [this] { return metrics(); }, [this] { return ready_.load(); });
    }
    telemetry_.replace(in_use->telemetry.prometheus_bind, fd, std::move(service));
    new_telemetry_.reset();
  }
  if (new_admin_) {
    const int fd = std::exchange(new_admin_->fd, -1);
    std::unique_ptr<SideService> service;
    if (fd >= 0) {
      log::info("admin", {{"address", new_admin_->address.text()}});
      service = admin_factory_.make(fd, new_admin_->address, *this);
    }
    admin_.replace(in_use->admin.bind, fd, std::move(service));
    new_admin_.reset();
  }
}

void Process::order(ConfigOrder order, std::function<void(const ConfigOutcome&)> tell) {
  queue_->post([this, order = std::move(order), tell = std::move(tell)] {
    if (ending_) return tell({.result = ConfigOutcome::Result::ending, .error = "the process ends"});
    const ConfigOutcome outcome = obey(order);
    tell(outcome);
    finish(order, outcome);
  });
}

void Process::reload(std::string_view author) {
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
             static_cast<long long>(clock_.now().time_since_epoch() / std::chrono::microseconds(1)));
  const ConfigOrder order{.author = std::string(author)};
  finish(order, obey(order));
  const std::shared_ptr<const config::Config> now = config();
  sd_notifyf(0, "READY=1\nSTATUS=Proxying %zu routes to %zu upstreams", now->rules.size(), now->upstreams.size());
}

std::expected<Process::Wanted, ConfigOutcome> Process::find_wanted(const ConfigOrder& order) {
  const auto refused = [](ConfigOutcome::Result result, std::string error, config::Diagnostics diagnostics = {}) {
    return std::unexpected(
        ConfigOutcome{.result = result, .error = std::move(error), .diagnostics = std::move(diagnostics)});
  };
  config::LoadAttempt attempt{.result = std::unexpected(config::Diagnostics{}), .sources = {}};
  switch (order.from) {
    case ConfigOrder::From::file:
      attempt = config::attempt_file(path_);
      file_text_ = config::bundle(attempt.sources);
      ++files_read_;
      follow_files(attempt.sources);
      break;
    case ConfigOrder::From::text:
      attempt = config::attempt_text(order.text, path_, std::filesystem::path(path_).parent_path());
      break;
    case ConfigOrder::From::snapshot: {
      const auto snapshot = store_->snapshot(order.snapshot);
      if (!snapshot) return refused(ConfigOutcome::Result::failed, snapshot.error());
      if (!*snapshot) {
        return refused(ConfigOutcome::Result::not_found, fmt::format("there is no snapshot {}", order.snapshot));
      }
      attempt = config::attempt_text((*snapshot)->text, path_);
      break;
    }
  }
  if (!attempt.result) {
    std::string error = config::render_line(attempt.result.error());
    return refused(ConfigOutcome::Result::invalid, std::move(error), std::move(attempt.result.error()));
  }
  return Wanted{.loaded = *std::move(attempt.result),
                .document = std::move(attempt.document),
                .text = config::bundle(attempt.sources)};
}

ConfigOutcome Process::obey(const ConfigOrder& order) {
  const std::string etag = config_status().etag;
  if (!order.if_match.empty() && order.if_match != etag) {
    ConfigOutcome outcome{.result = ConfigOutcome::Result::conflict, .error = "another configuration is in use"};
    describe_use(outcome);
    return outcome;
  }
  log::info("loading a configuration", {{"by", order.author}, {"reason", order.reason}});
  auto wanted = find_wanted(order);
  if (!wanted) return failed(order, std::move(wanted.error()));
  if (!wanted->loaded.warnings.empty()) {
    log::warning("the configuration has warnings", {{"warning", config::render_line(wanted->loaded.warnings)}});
  }
  if (const auto under_way = transition(); under_way && !order.dry_run) {
    if (wanted->text == under_way->intended.text) {
      ConfigOutcome outcome{.result = ConfigOutcome::Result::unchanged, .diagnostics = wanted->loaded.warnings};
      if (order.over == Milliseconds::zero()) {  // at once
        const TransitionOutcome finished = obey(
            TransitionOrder{.what = TransitionOrder::What::finish, .author = order.author, .reason = order.reason});
        const bool refused = finished.result != TransitionOutcome::Result::obeyed;
        outcome.result = refused ? ConfigOutcome::Result::failed : ConfigOutcome::Result::applied;
        outcome.error = finished.error;
      }
      outcome.transition = config_status().transition;
      describe_use(outcome);
      return outcome;
    }
    // Decided meanwhile or not: what is ordered follows on what is in use when it is over.
    const auto given_up = under_way->obey(
        {.what = TransitionOrder::What::abort, .author = order.author, .reason = "another configuration was ordered"},
        clock_.now());
    static_cast<void>(given_up);
    end_transition();
  }
  const std::shared_ptr<const std::string> text_before = config_text();
  const bool same = wanted->text == *text_before;
  ConfigOutcome outcome{.diagnostics = wanted->loaded.warnings,
                        .pending_restart = pending_restart(wanted->loaded.config)};
  // Takes its time where there are many routes: requests need not wait for it.
  const auto tell_changes = [&] { outcome.changes = config::render_json(config::diff(*document_, *wanted->document)); };
  if (same && order.from != ConfigOrder::From::file) {
    outcome.result = ConfigOutcome::Result::unchanged;
    describe_use(outcome);
    return outcome;
  }
  // A file that says the same is loaded all the same: certificates and other files that it names may be new.
  auto prepared = prepare(std::move(wanted->loaded.config));
  if (!prepared) {
    outcome.result = ConfigOutcome::Result::failed;
    outcome.error = std::move(prepared.error());
    return failed(order, std::move(outcome));
  }
  if (order.dry_run) {
    tell_changes();
    give_up(*std::move(prepared));
    outcome.result = ConfigOutcome::Result::valid;
    describe_use(outcome);
    return outcome;
  }
  if (const Nanoseconds over = time_of_transition(order, *prepared->generation->config);
      !same && over > Nanoseconds::zero()) {
    tell_changes();
    const std::uint64_t snapshot = history_->record({.author = order.author,
                                                     .reason = order.reason,
                                                     .source = path_,
                                                     .text = wanted->text,
                                                     .changes = outcome.changes,
                                                     .file = file_text_,
                                                     .outcome = memory::kRunning});
    begin_transition(*std::move(prepared),
                     {.author = order.author,
                      .reason = order.reason,
                      .text = std::move(wanted->text),
                      .document = std::move(wanted->document),
                      .snapshot = snapshot,
                      .pending_restart = outcome.pending_restart},
                     over);
    {
      const std::lock_guard lock(current_mutex_);
      status_.last_reload_successful = true;
      status_.last_reload_at = clock_.wall_now();
      status_.last_error.clear();
      status_.from_file = *text_ == file_text_;
    }
    outcome.result = ConfigOutcome::Result::begun;
    describe_use(outcome);
    outcome.transition = config_status().transition;
    return outcome;
  }
  adopt(*std::move(prepared));
  tell_changes();
  document_ = std::move(wanted->document);
  if (same) history_->confirmed(file_text_);
  const std::uint64_t snapshot = same ? config_status().snapshot
                                      : history_->record({.author = order.author,
                                                          .reason = order.reason,
                                                          .source = path_,
                                                          .text = wanted->text,
                                                          .changes = outcome.changes,
                                                          .file = file_text_});
  {
    const std::lock_guard lock(current_mutex_);
    text_ = std::make_shared<const std::string>(std::move(wanted->text));
    if (!same) {
      status_.etag = fingerprint(*text_);
      status_.author = order.author;
      status_.reason = order.reason;
    }
    status_.snapshot = snapshot;
    status_.from_file = *text_ == file_text_;
    ++status_.reloads_applied;
    status_.last_reload_successful = true;
    status_.last_reload_at = status_.applied_at;
    status_.last_error.clear();
    status_.pending_restart = outcome.pending_restart;
  }
  for (const std::string& key : outcome.pending_restart) log::warning("needs a restart to change", {{"key", key}});
  outcome.result = same ? ConfigOutcome::Result::unchanged : ConfigOutcome::Result::applied;
  describe_use(outcome);
  return outcome;
}

// After whoever ordered it was told: that may be the service that ends here.
void Process::finish(const ConfigOrder& order, const ConfigOutcome& outcome) {
  replace_side_services();
  const bool applied = outcome.result == ConfigOutcome::Result::applied;
  const bool read_again = outcome.result == ConfigOutcome::Result::unchanged && order.from == ConfigOrder::From::file;
  if (applied || read_again) log_reloaded(order.author, applied);
}

void Process::log_reloaded(std::string_view author, bool changed) const {
  const std::shared_ptr<const config::Config> now = config();
  const ConfigStatus status = config_status();
  log::info("reloaded", {{"by", author},
                         {"generation", status.generation},
                         {"snapshot", status.snapshot},
                         {"changed", changed},
                         {"routes", now->rules.size()},
                         {"upstreams", now->upstreams.size()}});
}

ConfigOutcome Process::failed(const ConfigOrder& order, ConfigOutcome outcome) {
  describe_use(outcome);
  const bool nothing_wrong = outcome.result == ConfigOutcome::Result::not_found;
  if (order.dry_run || nothing_wrong) return outcome;
  {
    const std::lock_guard lock(current_mutex_);
    ++status_.reloads_failed;
    status_.last_reload_successful = false;
    // The text of an order stands in no file, whatever name its lines go by.
    status_.last_error = order.from == ConfigOrder::From::text ? order.author + ": " + outcome.error : outcome.error;
    status_.last_reload_at = clock_.wall_now();
  }
  // Who has read the line may count on the status.
  log::error("reload failed, nothing was changed", {{"by", order.author}, {"reason", outcome.error}});
  return outcome;
}

void Process::describe_use(ConfigOutcome& outcome) const {
  const ConfigStatus status = config_status();
  outcome.generation = status.generation;
  outcome.snapshot = status.snapshot;
  outcome.etag = status.etag;
}

void Process::follow_files(const config::Sources& sources) {
  files_ = {};
  for (const std::string& path : sources.paths) {
    const auto read = std::ranges::find(sources.files, path, &config::SourceFile::name);
    memory::FileWatcher::File file{.path = path};
    if (read != sources.files.end()) file.read = memory::content_of(read->text);
    files_.files.push_back(std::move(file));
  }
  files_.patterns = sources.patterns;
  if (watcher_) watcher_->watch(files_);
}

// To be called when a configuration has come into use.
void Process::keep_watch(const config::Config& config) {
  if (config.memory.follow_files == (watcher_ != nullptr)) return;
  watcher_.reset();
  if (!config.memory.follow_files) return;
  // A change that was read meanwhile, by another order, is none: what came after that order would be undone by it.
  watcher_ = std::make_unique<memory::FileWatcher>(clock_, [this] {
    queue_->post([this, read = files_read_.load()] {
      if (read == files_read_) reload("file");
    });
  });
  watcher_->watch(files_);
}

std::shared_ptr<const Generation> Process::generation() const {
  const std::lock_guard lock(current_mutex_);
  return generation_;
}

std::shared_ptr<telemetry::AccessLog> Process::access_log() const {
  const std::lock_guard lock(current_mutex_);
  return access_log_;
}

std::shared_ptr<const std::string> Process::config_text() const {
  const std::lock_guard lock(current_mutex_);
  return text_;
}

ConfigStatus Process::config_status() const {
  const std::lock_guard lock(current_mutex_);
  ConfigStatus status = status_;
  if (transition_) {
    status.transition = transition_->status(clock_.now());
    status.transition->over = false;
  }
  return status;
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
  std::deque<std::string> new_names;
  if (const std::shared_ptr<const config::Config> coming = this->coming()) {
    add_coming(*coming, routes, upstreams, new_names);
  }
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
  const ConfigStatus status = config_status();
  snapshot.config = {
      .generation = status.generation,
      .reloads_applied = status.reloads_applied,
      .reloads_failed = status.reloads_failed,
      .last_reload_successful = status.last_reload_successful,
      .last_success_seconds = std::chrono::duration<double>(status.applied_at.time_since_epoch()).count(),
      .pending_restart = status.pending_restart.size(),
      .transitions_finished = status.transitions_ended[0],
      .transitions_rolled_back = status.transitions_ended[1],
      .transitions_aborted = status.transitions_ended[2]};
  if (status.transition) {
    const liminal::TransitionFigures& figures = status.transition->figures;
    snapshot.config.transition_under_way = !status.transition->over;
    if (snapshot.config.transition_under_way) snapshot.config.transition_progress = figures.progress;
    snapshot.config.transition_worse = figures.worse;
  }
  const memory::StoreStatus store = store_->status();
  snapshot.store = {.persistent = store.kind != "memory",
                    .healthy = store.healthy,
                    .pending = store.pending,
                    .written = store.written,
                    .flushes = store.flushes,
                    .failures = store.failures,
                    .lost = store.lost,
                    .begun_anew = store.begun_anew};
  snapshot.process = telemetry::read_process_figures();
  return telemetry::render_metrics(snapshot);
}

}  // namespace dao::server
