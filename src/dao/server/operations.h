// What the process offers to those that operate it: the admin API (dao/admin) is made on this, and nothing of the
// server knows of it. Any thread, but for the callback of explain().
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
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"
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

  [[nodiscard]] virtual const config::Config& config() const = 0;
  [[nodiscard]] virtual const std::vector<Listening>& listening() const = 0;
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

// How the process gets its admin API; the error is a sentence for the operator. `prepare` is called before anything is
// opened, `make` once the workers run. `listen_fd` is the service's to close, `bound` the address as it is bound.
class AdminFactory {
 public:
  virtual ~AdminFactory() = default;
  virtual std::expected<void, std::string> prepare(const config::Config& config) = 0;
  virtual std::unique_ptr<SideService> make(int listen_fd, const net::SocketAddress& bound, Operations& operations) = 0;
};

}  // namespace dao::server
