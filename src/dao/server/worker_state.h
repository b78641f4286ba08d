// What a worker's requests share: the configuration they begin with, the upstreams, counters. Belongs to one worker;
// one thread, except what is named otherwise. No sockets here, so the request path runs in virtual time in tests.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dao/base/random.h"
#include "dao/http/buffer.h"
#include "dao/http/head.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/outcomes.h"
#include "dao/sense/shard.h"
#include "dao/sense/signals.h"
#include "dao/sense/slots.h"
#include "dao/sense/view.h"
#include "dao/server/new_side.h"
#include "dao/server/upstream_queue.h"
#include "dao/server/upstream_seat.h"
#include "dao/server/worker_generation.h"
#include "dao/telemetry/access_log.h"
#include "dao/upstream/retry_budget.h"

namespace dao::server {

// The Date field's text, made once a second (RFC 9110 section 5.6.7).
class DateText {
 public:
  std::string_view at(WallTime now);

 private:
  std::int64_t second_ = -1;
  std::array<char, 32> text_{};
  std::size_t size_ = 0;
};

// What a worker is to go on with: made by another thread. The seats are those of upstreams that had none, with their
// numbers.
struct Adoption {
  struct NewSeat {
    std::uint32_t upstream = 0;
    std::unique_ptr<UpstreamSeat> seat;
  };
  std::unique_ptr<WorkerGeneration> generation;  // null: that of the new side
  std::vector<NewSeat> seats;
};

// Whose numbers a worker has no more use for.
struct Released {
  std::vector<std::uint32_t> upstreams;
  std::vector<std::uint32_t> rules;
};

struct WorkerState {
  WorkerState(rt::Loop& the_loop, sense::Shard& the_shard, sense::InFlight& the_in_flight,
              sense::Admission& the_admission, telemetry::AccessLogLane* lane, std::uint64_t seed);

  rt::Loop& loop;
  sense::Shard& shard;
  sense::InFlight& in_flight;
  sense::Admission& admission;
  UpstreamQueue queue;                           // requests that wait for room at an upstream
  sense::Slots<sense::UpstreamSignals> signals;  // by the upstreams' numbers
  sense::ViewPtr view;                           // the latest; never null
  telemetry::AccessLogLane* access_log;          // null: off
  http::BufferPool buffers;
  std::vector<std::unique_ptr<UpstreamSeat>> seats;  // by the upstreams' numbers; null: nobody has that one
  std::unique_ptr<WorkerGeneration> current;         // what requests begin with; null before the first adopt()
  std::optional<NewSide> new_side;  // what some begin with instead; nothing: no transition is under way
  upstream::RetryBudget retry_budget;
  Random random;
  DateText date;
  bool draining = false;
  rt::Cancel drain_websockets;  // requested some time after a drain has begun

  // From now on requests begin with this one; those under way go on with theirs. O(upstreams).
  void adopt(Adoption adoption);
  // A gradual transition begins: `adoption` is the new side, all requests begin with the current one until see(). What
  // belongs to neither side (pools of upstreams that both have, the retry budget) is between the two.
  void begin_transition(Adoption adoption, NewSide coming);
  // How far it has come.
  void see(const liminal::TransitionView& seen);
  // The new side is given up: all requests begin with the current one. If it has won: adopt().
  void end_transition();
  // Lets go of generations that no request uses any more, and of the upstreams and rules that only they had: their
  // connections are closed and their counters cleared.
  Released release_unused();

  // For one attempt with that upstream.
  [[nodiscard]] sense::OutcomeReport report_for(std::uint32_t upstream, const WorkerGeneration& generation) {
    return {shard.upstream(upstream).outcomes, admission, upstream, generation.failures_that_close};
  }

  // Response heads keep their memory between requests.
  std::unique_ptr<http::ResponseHead> borrow_response_head();
  void return_response_head(std::unique_ptr<http::ResponseHead> head);

 private:
  void take_seats(std::vector<Adoption::NewSeat> taken);
  // The settings of what the process has once.
  void configure(const config::Config& config);

  std::vector<std::unique_ptr<WorkerGeneration>> older_;  // those that had requests when they were replaced
  std::vector<std::unique_ptr<http::ResponseHead>> spare_response_heads_;
};

// One request's hold on the generation it began with.
class GenerationInUse {
 public:
  // `exchange`: null if there is no usable request, which has no side.
  GenerationInUse(WorkerState& worker, http::Exchange* exchange)
      : side_(worker.new_side && exchange != nullptr ? side_for(*worker.new_side, *exchange) : SideTaken{}),
        generation_(side_.side == liminal::Side::new_config ? *worker.new_side->generation : *worker.current) {
    ++generation_.requests;
  }
  GenerationInUse(const GenerationInUse&) = delete;
  GenerationInUse& operator=(const GenerationInUse&) = delete;
  ~GenerationInUse() { --generation_.requests; }
  [[nodiscard]] WorkerGeneration& operator*() const { return generation_; }
  [[nodiscard]] const SideTaken& side() const { return side_; }

 private:
  const SideTaken side_;
  WorkerGeneration& generation_;
};

}  // namespace dao::server
