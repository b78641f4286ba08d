// What the process offers to those that operate it: the admin API (dao/admin) is made on this, and nothing of the
// server knows of it. Any thread, but for the callbacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/memory/store.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"
#include "dao/server/config_order.h"
#include "dao/server/explain.h"
#include "dao/server/side_service.h"

namespace dao::server {

class Operations {
 public:
  struct Listening {
    std::string name;
    std::string address;
  };
  virtual ~Operations() = default;

  // What is in use now. What stands in shards(), in_flight(), admission() and view() is at the numbers of its routes
  // and upstreams.
  [[nodiscard]] virtual std::shared_ptr<const config::Config> config() const = 0;
  // Its text: one file or a bundle (config/sources.h), with its secrets.
  [[nodiscard]] virtual std::shared_ptr<const std::string> config_text() const = 0;
  [[nodiscard]] virtual ConfigStatus config_status() const = 0;
  // `tell` is called on the main thread, once, when it is done or could not be; before the service that ordered it
  // ends, if the new configuration has another one.
  virtual void order(ConfigOrder order, std::function<void(const ConfigOutcome&)> tell) = 0;
  // The transition that is under way. `tell`: as above, when what was ordered is in force.
  virtual void order(TransitionOrder order, std::function<void(const TransitionOutcome&)> tell) = 0;
  // What a transition leads to; null: none is under way. Its routes and upstreams have their numbers, too.
  [[nodiscard]] virtual std::shared_ptr<const config::Config> coming() const = 0;
  // The snapshots. What reads from it may wait for the disk.
  [[nodiscard]] virtual memory::Store& store() = 0;
  [[nodiscard]] virtual std::vector<Listening> listening() const = 0;
  [[nodiscard]] virtual WallTime started_at() const = 0;
  [[nodiscard]] virtual Nanoseconds uptime() const = 0;
  [[nodiscard]] virtual bool ready() const = 0;
  [[nodiscard]] virtual std::int64_t max_connections() const = 0;
  [[nodiscard]] virtual std::size_t workers() const = 0;
  // One for each worker.
  [[nodiscard]] virtual std::vector<const sense::Shard*> shards() const = 0;
  [[nodiscard]] virtual const sense::InFlight& in_flight() const = 0;
  [[nodiscard]] virtual sense::Admission& admission() = 0;
  // The latest; null before the first.
  [[nodiscard]] virtual sense::ViewPtr view() const = 0;

  // `tell` is called for each worker, on its thread and soon; never for a worker that has ended.
  using Tell = std::function<void(std::size_t worker, ExplainAnswer answer)>;
  virtual void explain(const ExplainQuestion& question, const Tell& tell) = 0;
};

// How the process gets its admin API; the error is a sentence for the operator. `prepare` is called for each
// configuration before anything is opened, `make` when it comes into use and the workers run. `listen_fd` is the
// service's to close, `bound` the address as it is bound.
class AdminFactory {
 public:
  virtual ~AdminFactory() = default;
  // Whether the service must be made anew for this configuration; true the first time.
  virtual std::expected<bool, std::string> prepare(const config::Config& config) = 0;
  virtual std::unique_ptr<SideService> make(int listen_fd, const net::SocketAddress& bound, Operations& operations) = 0;
};

}  // namespace dao::server
