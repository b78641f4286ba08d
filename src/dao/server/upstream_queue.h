// Where the requests of a worker wait while every upstream of their route is at its limit (`max_in_flight`): a line for
// each route, first come first served, bounded in length and time.
//
// A slot that is freed goes at once to the request of this worker that has waited longest for that upstream; every
// kOwnInARow times it goes to another worker instead, if requests wait there too (freed_slots.h). It stays counted
// until it is taken, so that neither a request that has just come nor another worker gets between. What else makes room
// (an upstream comes back, a limit is raised) is noticed within kLookInterval.
//
// One thread, but for what FreedSlots and InFlight share. A request that finds room pays for none of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
#include "dao/rt/cancel.h"
#include "dao/rt/event.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/server/freed_slots.h"

namespace dao::server {

// A request that looks for an upstream with room. Called on the worker's thread, while it waits.
class RoomSeeker {
 public:
  // It would go there, if that were admitted and had room.
  [[nodiscard]] virtual bool wants(std::uint32_t upstream) const = 0;
  // A slot there is counted for it. False: it must not be used now; the slot stays the caller's.
  virtual bool accept(std::uint32_t upstream) = 0;
  // Looks for room anywhere. True: it need not wait any longer, for it has a slot or knows that there will be none.
  virtual bool seek() = 0;
  // InFlight::announce for every upstream that it wants; true if that is news of any of them.
  virtual bool announce(std::uint64_t worker) = 0;
  // Who has the same wants the same. Null: nobody else does.
  [[nodiscard]] virtual const void* kind() const = 0;

 protected:
  ~RoomSeeker() = default;
};

enum class Waited : std::uint8_t {
  served,     // as RoomSeeker::seek
  full,       // too many wait already
  timed_out,  // in vain
  cancelled,
};

class UpstreamQueue : private rt::Timer {
 public:
  static constexpr Nanoseconds kLookInterval = std::chrono::milliseconds(10);
  static constexpr unsigned kOwnInARow = 3;

  UpstreamQueue(rt::Loop& loop, sense::InFlight& in_flight, sense::Shard& shard);
  UpstreamQueue(const UpstreamQueue&) = delete;
  UpstreamQueue& operator=(const UpstreamQueue&) = delete;
  ~UpstreamQueue();

  // Before the first request: this is that one of several workers. Until then there are no others.
  void join(std::shared_ptr<FreedSlots> slots, std::size_t worker);
  // FreedSlots has something for this worker.
  void take_freed();
  // The worker ends: it takes no slots any more.
  void leave_others();

  // Nobody waits.
  [[nodiscard]] bool empty() const { return waiting_ == 0; }
  // Lets in who finds room now. To be called before a newcomer looks for itself.
  void look();
  // `most`: how many of the route may wait; `patience`: for how long. When it is served at the very moment in which it
  // is cancelled, it is served: the slot is there.
  rt::Task<Waited> wait(RoomSeeker& seeker, std::uint32_t route, std::size_t most, Nanoseconds patience,
                        rt::Cancel& cancel);

  // A request has left the upstream. `limit`: of the upstream; 0: none.
  void freed(std::uint32_t upstream, std::uint32_t limit) {
    if (limit == 0) {
      in_flight_.leave(upstream);
    } else {
      free_slot({upstream, limit});
    }
  }

 private:
  struct Waiter {
    RoomSeeker& seeker;
    std::uint32_t route;
    Instant since;
    bool served = false;
    rt::Event event{};
    Waiter* next = nullptr;
    Waiter* prev = nullptr;
  };
  struct Line {
    Waiter* first = nullptr;
    Waiter* last = nullptr;
    std::size_t length = 0;
    bool listed = false;  // in active_
  };

  void append(Waiter& waiter);
  void remove(Waiter& waiter);
  void serve(Waiter& waiter);
  void forget_empty_lines();
  [[nodiscard]] Waiter* longest_waiting_for(std::uint32_t upstream) const;
  void free_slot(FreedSlot slot);
  // The slot is counted, and free for whoever waits for it.
  void pass_on(FreedSlot slot);
  // To requests of this worker. False: none wants it, and it is still the caller's.
  bool use_here(FreedSlot slot);
  // Another than this one, of those that wait.
  std::uint64_t next_worker(std::uint64_t waiting);
  bool pass_to(std::uint64_t worker, FreedSlot slot);

  rt::Loop& loop_;
  sense::InFlight& in_flight_;
  sense::Shard& shard_;
  std::shared_ptr<FreedSlots> slots_;  // null: no other workers
  std::size_t worker_ = 0;
  std::uint64_t own_ = 1;   // in the words of InFlight; more than 64 workers share them
  std::uint64_t last_ = 1;  // of the others, who got a slot
  unsigned own_in_a_row_ = 0;
  std::size_t turn_ = 0;               // among workers that share a bit
  std::vector<Line> lines_;            // by the routes' numbers
  std::vector<std::uint32_t> active_;  // the lines where somebody waits, and perhaps some more
  std::size_t waiting_ = 0;
};

}  // namespace dao::server
