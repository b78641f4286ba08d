// The process: what it opens, who works in it, and how a configuration comes into use. The main thread, but for what
// Operations offers to others. process_start.cpp, process_config.cpp,
// process_transition.cpp and process_end.cpp have its parts.
#pragma once

#include <atomic>
#include <csignal>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/log.h"
#include "dao/config/load.h"
#include "dao/liminal/mind.h"
#include "dao/memory/file_watcher.h"
#include "dao/memory/learned.h"
#include "dao/memory/store.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/server/config_history.h"
#include "dao/server/config_order.h"
#include "dao/server/config_transition.h"
#include "dao/server/generation.h"
#include "dao/server/inherited_sockets.h"
#include "dao/server/listeners.h"
#include "dao/server/main_queue.h"
#include "dao/server/mind_thread.h"
#include "dao/server/operations.h"
#include "dao/server/roster.h"
#include "dao/server/side_door.h"
#include "dao/server/successor.h"
#include "dao/server/upstream_names.h"
#include "dao/server/worker.h"
#include "dao/telemetry/access_log.h"

namespace dao::server {

[[nodiscard]] log::Level log_level_of(config::LogLevel level);
[[nodiscard]] std::size_t workers_of(const config::Server& server);

class Process final : private Operations {
 public:
  explicit Process(AdminFactory& admin) : admin_factory_(admin) {}

  // `file`: what the configuration file says; valid.
  int run(config::LoadAttempt file);

 private:
  // A configuration that is ready to come into use.
  struct Prepared {
    std::shared_ptr<const Generation> generation;
    Listeners::Plan listeners;
    std::optional<SideDoor::Opened> telemetry;  // nothing: as it is
    std::optional<SideDoor::Opened> admin;
    std::shared_ptr<telemetry::AccessLog> log;
  };

  struct Beginning {
    config::Config config;
    std::shared_ptr<const config::Node> document;
    std::string text;
    std::string author;
    std::string reason;
  };
  // At the start: the first configuration comes into use. The error is a sentence for the operator.
  std::expected<void, std::string> begin(Beginning beginning);
  bool resume();
  void make_workers(const config::Config& config);
  std::expected<Prepared, std::string> prepare(config::Config config);
  // The sockets and files of a generation.
  std::expected<Prepared, std::string> open_for(const std::shared_ptr<const Generation>& generation);
  // Each worker's part of a generation that none of them has yet.
  std::vector<Adoption> seats_for(const std::shared_ptr<const Generation>& generation);
  std::expected<std::optional<SideDoor::Opened>, std::string> open_admin(const config::Config& config);
  std::expected<std::shared_ptr<telemetry::AccessLog>, std::string> open_access_log(
      const config::AccessLog& wanted) const;
  [[nodiscard]] std::vector<std::string> pending_restart(const config::Config& wanted) const;
  void wait_for_addresses(const config::Config& config);
  void adopt(Prepared prepared);
  // It does not come into use.
  void give_up(Prepared prepared);
  void give_orders(Prepared& prepared);
  // The new side of what is prepared is there for a growing part of the requests.
  void begin_transition(Prepared prepared, ConfigTransition::Intended intended, Nanoseconds over);
  // The mind's thread.
  void step_transition();
  // What the process has once is between the two.
  void set_connection_limits(double progress);
  // If it is decided: what was decided comes into force everywhere.
  void end_transition();
  // The new configuration has won. The error says why it cannot come into use after all.
  std::expected<void, std::string> complete(const ConfigTransition& transition);
  void give_up_new_side();
  TransitionOutcome obey(const TransitionOrder& order);
  void tell_workers(const std::function<void(Worker&, std::function<void()> done)>& tell);
  void reconfigure_mind(std::vector<std::shared_ptr<const Generation>> generations, Roster::Leaving leaving);
  void replace_side_services();
  void reload(std::string_view author);
  // An order from beginning to end, but for the side services, which finish() replaces.
  ConfigOutcome obey(const ConfigOrder& order);
  void finish(const ConfigOrder& order, const ConfigOutcome& outcome);
  // The line that tells operators that a configuration is in use everywhere.
  void log_reloaded(std::string_view author, bool changed) const;
  // The configuration that is ordered, and its text. The error is the outcome.
  struct Wanted {
    config::Loaded loaded;
    std::shared_ptr<const config::Node> document;
    std::string text;
  };
  std::expected<Wanted, ConfigOutcome> find_wanted(const ConfigOrder& order);
  ConfigOutcome failed(const ConfigOrder& order, ConfigOutcome outcome);
  void describe_use(ConfigOutcome& outcome) const;
  // What the configuration file was made of when it was read last.
  void follow_files(const config::Sources& sources);
  void keep_watch(const config::Config& config);
  int obey_signals();
  // For all loops; true when it is in force everywhere.
  bool share_descriptors(bool shared);
  // The successor's process id, or 0 if there is none and this process carries on.
  pid_t upgrade();
  int drain(std::string_view why, bool handed_over);
  void unlink_sockets() const;
  std::string metrics() const;
  [[nodiscard]] std::shared_ptr<const Generation> generation() const;
  [[nodiscard]] std::shared_ptr<ConfigTransition> transition() const;
  [[nodiscard]] std::shared_ptr<telemetry::AccessLog> access_log() const;
  [[noreturn]] void end_at_once(int status, std::string_view why) const;

  // Operations
  [[nodiscard]] std::shared_ptr<const config::Config> config() const override { return generation()->config; }
  [[nodiscard]] std::shared_ptr<const std::string> config_text() const override;
  [[nodiscard]] ConfigStatus config_status() const override;
  void order(ConfigOrder order, std::function<void(const ConfigOutcome&)> tell) override;
  void order(TransitionOrder order, std::function<void(const TransitionOutcome&)> tell) override;
  [[nodiscard]] std::shared_ptr<const config::Config> coming() const override;
  [[nodiscard]] memory::Store& store() override { return *store_; }
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
  std::unique_ptr<InheritedSockets> inherited_;   // null once the process is ready
  std::shared_ptr<const config::Node> document_;  // of the configuration in use: what differs from it is told
  std::string path_;                              // of the configuration file
  std::string file_text_;                         // what it said when it was read last
  memory::FileWatcher::Watched files_;            // what it was made of then
  std::atomic<std::uint64_t> files_read_{0};      // how often that was
  config::Memory store_settings_;                 // what the store was opened with
  std::unique_ptr<memory::Store> store_;
  std::unique_ptr<ConfigHistory> history_;
  std::unique_ptr<memory::Learned> learned_;
  std::unique_ptr<memory::FileWatcher> watcher_;  // null: the files are not followed
  ConnectionLimit connections_{ConnectionLimit::kNone};
  sense::InFlight in_flight_{0};
  sense::Admission admission_{0};
  std::vector<std::unique_ptr<sense::Shard>> shards_;
  std::unique_ptr<Roster> roster_;
  std::unique_ptr<Listeners> listeners_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<liminal::Mind> mind_;
  std::unique_ptr<MindThread> mind_thread_;        // gives Views to the workers: ends before them
  std::unique_ptr<UpstreamNames> names_;           // and these addresses
  std::optional<SideDoor::Opened> new_telemetry_;  // what adopt() leaves to replace_side_services()
  std::optional<SideDoor::Opened> new_admin_;
  SideDoor telemetry_;
  SideDoor admin_;
  std::atomic<bool> ready_{false};
  std::uint64_t generations_ = 0;  // numbers that were given
  std::uint64_t transitions_ = 0;
  bool handed_over_ = false;
  bool ending_ = false;  // no configuration comes into use any more

  mutable std::mutex current_mutex_;  // guards what follows: the main thread changes it, others look
  std::shared_ptr<const Generation> generation_;
  std::shared_ptr<ConfigTransition> transition_;  // null: none is under way
  std::shared_ptr<telemetry::AccessLog> access_log_;
  std::vector<Listening> listening_;
  std::shared_ptr<const std::string> text_;
  ConfigStatus status_;
};

}  // namespace dao::server
