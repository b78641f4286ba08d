// Folds the workers' shards into Views: what was counted since the last fold goes into windows of the last 60 seconds.
// One thread, any clock. A step costs what happened since the last one, a little for each upstream and route that had
// traffic in its window, and next to nothing for the others; memory is held for windows with traffic only.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/typical.h"
#include "dao/sense/view.h"
#include "dao/sense/window.h"

namespace dao::sense {

// What a route has learned of itself, to be kept over a restart.
struct RouteLearned {
  Typical::State latency_ms;
  Typical::State in_flight;
  Typical::State error_rate;
};

class Fold {
 public:
  // A route and the upstreams it has, by their numbers.
  struct Members {
    std::uint32_t route = 0;
    std::vector<std::uint32_t> upstreams;
  };
  // What the shards have counted before now is in no window. All numbers are known to the shards and to `in_flight`,
  // which outlive the fold.
  Fold(std::vector<const Shard*> shards, const std::vector<Members>& routes, const InFlight& in_flight);

  // These are the routes and upstreams from now on. What is known of those that stay is kept; whoever has a number
  // that was nobody's begins with nothing, also if it was another's once. The shards know the new numbers already.
  void reconfigure(const std::vector<Members>& routes);

  // Reads all shards and fills `into`, but for what others decide (presence, level). Time begins with the first step.
  // `into` is new, or one that this fold filled before: then only what has changed since is written.
  void step(Instant now, View& into);
  // The upstreams of which samples came in the last step.
  [[nodiscard]] const std::vector<std::uint32_t>& heard_of() const { return heard_of_; }

  [[nodiscard]] RouteLearned save_learned(std::size_t route) const;
  // See Typical::restore().
  void restore_learned(std::size_t route, const RouteLearned& learned, double weight);

 private:
  struct Counted {
    std::uint64_t requests = 0;
    std::uint64_t failures = 0;
  };
  struct Upstream {
    bool exists = false;
    std::unique_ptr<Window> window;  // null: nothing in the last 60 seconds
    Counted before;                  // in the shards, when they were last read
    bool touched = false;            // in this step
    UpstreamView seen;               // what is made of the window, after each sample and each second
    std::vector<std::uint32_t> routes;
  };
  struct Route {
    bool exists = false;
    std::unique_ptr<Window> window;
    Counted before;
    bool touched = false;
    RouteView seen;
    std::vector<std::uint32_t> upstreams;
    Typical latency_ms{0.001};
    Typical in_flight{1};
    Typical error_rate{0.001};
  };

  [[nodiscard]] Counted count_attempts(std::size_t upstream) const;
  [[nodiscard]] Counted count_requests(std::size_t route) const;
  void advance_to(std::int64_t second);
  void read_samples();
  void take(const Sample& sample);
  template <class Member>
  void touch(Member& member, std::vector<std::uint32_t>& touched, std::uint32_t number);
  void count_touched();
  void average_in_flight(double seconds);
  void show_routes(View& into) const;
  void show_upstreams(Instant now, View& into);
  void learn(Route& route);
  [[nodiscard]] const RouteView* busiest_route(const Upstream& upstream, const View& view) const;

  std::vector<const Shard*> shards_;
  std::vector<std::uint64_t> read_to_;  // of each shard's samples
  const InFlight& in_flight_;
  std::vector<Upstream> upstreams_;
  std::vector<Route> routes_;
  // By upstream, side by side, for they are looked at in every step.
  std::vector<double> average_in_flight_;
  std::vector<std::uint8_t> awake_;  // it has a window
  std::vector<std::uint8_t> busy_;   // it had one, or something in flight, in the last step
  std::vector<Instant> changed_;     // when its part of a View last became another
  std::vector<std::uint32_t> heard_of_;
  std::vector<std::uint32_t> touched_upstreams_;
  std::vector<std::uint32_t> touched_routes_;
  std::uint64_t samples_lost_ = 0;
  Instant start_{};
  Instant before_{};          // the last step
  double elapsed_ = 0;        // seconds since start_
  std::int64_t second_ = -1;  // since start_; -1: no step yet
};

}  // namespace dao::sense
