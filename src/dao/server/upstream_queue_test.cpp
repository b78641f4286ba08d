#include "dao/server/upstream_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dao/rt/epoll_loop.h"

namespace dao::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A request that goes to any of its upstreams.
class Seeker final : public RoomSeeker {
 public:
  Seeker(sense::InFlight& in_flight, std::vector<std::uint32_t> upstreams, std::uint32_t limit)
      : in_flight_(in_flight), upstreams_(std::move(upstreams)), limit_(limit) {}

  [[nodiscard]] bool wants(std::uint32_t upstream) const override {
    return std::ranges::find(upstreams_, upstream) != upstreams_.end();
  }
  bool accept(std::uint32_t upstream) override {
    if (!admitted || in_flight_.count(upstream) > std::int64_t{limit_}) return false;
    found = upstream;
    return true;
  }
  bool seek() override {
    for (const std::uint32_t upstream : upstreams_) {
      if (!admitted || !in_flight_.try_enter(upstream, limit_)) continue;
      found = upstream;
      return true;
    }
    return hopeless;
  }
  bool announce(std::uint64_t worker) override {
    bool news = false;
    for (const std::uint32_t upstream : upstreams_) news = in_flight_.announce(upstream, worker) || news;
    return news;
  }
  [[nodiscard]] const void* kind() const override { return nullptr; }

  bool admitted = true;
  bool hopeless = false;  // will find nothing, and knows it
  std::optional<std::uint32_t> found;

 private:
  sense::InFlight& in_flight_;
  std::vector<std::uint32_t> upstreams_;
  std::uint32_t limit_;
};

constexpr std::uint32_t kLimit = 2;

// One of several workers, all on one loop.
struct Worker {
  Worker(rt::VirtualLoop& the_loop, sense::InFlight& in_flight)
      : loop(the_loop), shard(3, in_flight.size()), queue(the_loop, in_flight, shard) {}
  rt::VirtualLoop& loop;
  sense::Shard shard;
  UpstreamQueue queue;
};

class UpstreamQueueTest : public testing::Test {
 protected:
  // What one request went through.
  struct Request {
    std::string name;
    Seeker seeker;
    rt::Cancel cancel{};
    std::optional<Waited> waited{};
    Instant ended{};
  };

  UpstreamQueueTest() {
    loop.run_for(seconds(1));
    more_workers(1);
  }
  ~UpstreamQueueTest() override { EXPECT_EQ(loop.live_tasks(), 0U); }

  void more_workers(std::size_t count) {
    slots = std::make_shared<FreedSlots>(count);
    workers.clear();
    for (std::size_t i = 0; i < count; ++i) {
      workers.push_back(std::make_unique<Worker>(loop, in_flight));
      slots->open(i, [this, i] { mail.push_back(i); });
      workers.back()->queue.join(slots, i);
    }
  }
  void deliver() {
    while (!mail.empty()) {
      const std::size_t worker = mail.front();
      mail.erase(mail.begin());
      workers[worker]->queue.take_freed();
    }
    loop.run_for(Nanoseconds::zero());
  }

  // A request that found no room begins to wait.
  Request& begin(std::string name, std::vector<std::uint32_t> upstreams = {0}, std::uint32_t route = 0,
                 std::size_t worker = 0) {
    requests.push_back(std::make_unique<Request>(std::move(name), Seeker(in_flight, std::move(upstreams), kLimit)));
    Request& request = *requests.back();
    loop.spawn(wait(*workers[worker], request, route));
    loop.run_for(Nanoseconds::zero());
    return request;
  }
  rt::Task<> wait(Worker& worker, Request& request, std::uint32_t route) {
    auto waiting = worker.queue.wait(request.seeker, route, most, seconds(1), request.cancel);
    request.waited = co_await std::move(waiting);
    request.ended = loop.now();
    if (request.waited == Waited::served) served += request.name;
  }
  void fill(std::uint32_t upstream) {
    while (in_flight.try_enter(upstream, kLimit)) {
    }
  }
  void free(std::uint32_t upstream, std::size_t worker = 0) {
    workers[worker]->queue.freed(upstream, kLimit);
    deliver();
  }
  const sense::RouteCounters& counters(std::uint32_t route = 0) { return workers[0]->shard.routes()[route]; }

  rt::VirtualLoop loop;
  sense::InFlight in_flight{3};
  std::shared_ptr<FreedSlots> slots;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::size_t> mail;
  std::vector<std::unique_ptr<Request>> requests;
  std::size_t most = 100;
  std::string served;  // the names, in order
};

TEST_F(UpstreamQueueTest, ServesInTheOrderOfComing) {
  fill(0);
  for (const char* name : {"a", "b", "c"}) begin(name);
  EXPECT_EQ(served, "");
  EXPECT_EQ(counters().queue_waiting.value(), 3);
  for (int i = 0; i < 3; ++i) {
    free(0);
    EXPECT_EQ(in_flight.count(0), kLimit) << "the slot is handed over, never free";
  }
  EXPECT_EQ(served, "abc");
  EXPECT_EQ(counters().queue_waiting.value(), 0);
  EXPECT_EQ(counters().queued.value(), 3U);
  free(0);
  free(0);
  EXPECT_EQ(in_flight.count(0), 0);
}

TEST_F(UpstreamQueueTest, TakesRoomThatWasMadeBeforeItWasKnownThatSomebodyWaits) {
  fill(0);
  in_flight.free_slot(0);
  EXPECT_EQ(begin("a").waited, Waited::served);
  EXPECT_EQ(counters().queued.value(), 0U) << "it did not wait";
}

TEST_F(UpstreamQueueTest, IsBounded) {
  fill(0);
  most = 2;
  begin("a");
  begin("b");
  EXPECT_EQ(begin("c").waited, Waited::full);
  EXPECT_EQ(counters().queue_overflows.value(), 1U);
  EXPECT_EQ(begin("d", {0}, 1).waited, std::nullopt) << "each route has a line of its own";
  for (int i = 0; i < 3; ++i) free(0);
  EXPECT_EQ(served, "abd");
}

TEST_F(UpstreamQueueTest, GivesUpInTime) {
  fill(0);
  const Instant began = loop.now();
  Request& late = begin("a");
  loop.run_for(milliseconds(500));
  Request& later = begin("b");
  loop.run_for(milliseconds(700));
  EXPECT_EQ(late.waited, Waited::timed_out);
  EXPECT_NEAR(static_cast<double>((late.ended - began).count()) / 1e9, 1, 0.002);
  EXPECT_EQ(counters().queue_timeouts.value(), 1U);
  EXPECT_EQ(counters().queue_waiting.value(), 1);
  free(0);
  EXPECT_EQ(later.waited, Waited::served);
  EXPECT_EQ(loop.timers().size(), 0U);
}

TEST_F(UpstreamQueueTest, LeavesWhenCancelled) {
  fill(0);
  Request& gone = begin("a");
  begin("b");
  gone.cancel.request(ErrorKind::closed);
  loop.run_for(Nanoseconds::zero());
  EXPECT_EQ(gone.waited, Waited::cancelled);
  free(0);
  EXPECT_EQ(served, "b");
}

TEST_F(UpstreamQueueTest, ASlotThatComesAtTheMomentOfTheCancellationIsNotLost) {
  fill(0);
  Request& both = begin("a");
  both.cancel.request(ErrorKind::closed);
  workers[0]->queue.freed(0, kLimit);
  loop.run_for(Nanoseconds::zero());
  EXPECT_EQ(both.waited, Waited::served);
  EXPECT_EQ(both.seeker.found, 0U);
  EXPECT_EQ(in_flight.count(0), kLimit);
}

TEST_F(UpstreamQueueTest, GivesASlotToTheFirstWhoWantsIt) {
  for (const std::uint32_t upstream : {0U, 1U, 2U}) fill(upstream);
  begin("a", {0});
  begin("b", {1});
  begin("c", {0, 1});
  free(1);
  free(1);
  EXPECT_EQ(served, "bc");
  free(2);
  EXPECT_EQ(in_flight.count(2), kLimit - 1);
  free(0);
  EXPECT_EQ(served, "bca");
}

TEST_F(UpstreamQueueTest, OfSeveralRoutesWhoWaitsLongestIsFirst) {
  fill(0);
  begin("a", {0}, 2);
  loop.run_for(milliseconds(5));
  begin("b", {0}, 1);
  loop.run_for(milliseconds(5));
  begin("c", {0}, 2);
  for (int i = 0; i < 3; ++i) free(0);
  EXPECT_EQ(served, "abc");
}

TEST_F(UpstreamQueueTest, NoticesRoomThatNobodyTellsOf) {
  fill(0);
  Request& first = begin("a");
  Request& second = begin("b");
  in_flight.leave(0);  // as by a request that knows of no limit
  loop.run_for(UpstreamQueue::kLookInterval + milliseconds(1));
  EXPECT_EQ(first.waited, Waited::served);
  EXPECT_EQ(second.waited, std::nullopt);
  second.seeker.hopeless = true;
  loop.run_for(UpstreamQueue::kLookInterval + milliseconds(1));
  EXPECT_EQ(second.waited, Waited::served);
  EXPECT_EQ(second.seeker.found, std::nullopt) << "it was told that there is no use in waiting";
}

TEST_F(UpstreamQueueTest, ASlotThatCannotBeUsedIsFree) {
  fill(0);
  Request& request = begin("a");
  request.seeker.admitted = false;
  free(0);
  EXPECT_EQ(in_flight.count(0), kLimit - 1);
  EXPECT_EQ(request.waited, std::nullopt);
  request.seeker.admitted = true;
  loop.run_for(UpstreamQueue::kLookInterval + milliseconds(1));
  EXPECT_EQ(request.waited, Waited::served);
}

TEST_F(UpstreamQueueTest, ALowerLimitTakesEffect) {
  fill(0);
  Request& request = begin("a");
  in_flight.enter(0);  // the limit was 3
  free(0);
  EXPECT_EQ(request.waited, std::nullopt);
  free(0);
  EXPECT_EQ(request.waited, Waited::served);
  EXPECT_EQ(in_flight.count(0), kLimit);
}

TEST_F(UpstreamQueueTest, WhereNobodyWaitsAnyMoreASlotIsPassedOn) {
  more_workers(3);
  fill(0);
  Request& gone = begin("x", {0}, 0, 1);
  gone.cancel.request();
  loop.run_for(Nanoseconds::zero());
  begin("a", {0}, 0, 2);
  free(0, 0);
  EXPECT_EQ(served, "a");
  free(0, 0);
  free(0, 0);
  EXPECT_EQ(in_flight.count(0), 0);
  EXPECT_EQ(in_flight.waiting(0), 0U);
}

TEST_F(UpstreamQueueTest, WorkersTakeTurns) {
  more_workers(3);
  fill(0);
  for (int i = 0; i < 8; ++i) begin("a", {0}, 0, 0);
  for (int i = 0; i < 3; ++i) begin("b", {0}, 0, 1);
  for (int i = 0; i < 3; ++i) begin("c", {0}, 0, 2);
  for (int i = 0; i < 14; ++i) {
    free(0, 0);
    EXPECT_EQ(in_flight.count(0), kLimit);
  }
  EXPECT_EQ(served, "aaabaaacaabcbc");
}

TEST_F(UpstreamQueueTest, AWorkerThatEndsKeepsNoSlot) {
  more_workers(2);
  fill(0);
  Request& gone = begin("x", {0}, 0, 1);
  workers[0]->queue.freed(0, kLimit);  // on its way to 1
  gone.cancel.request();
  loop.run_for(Nanoseconds::zero());
  EXPECT_EQ(in_flight.count(0), kLimit);
  workers[1]->queue.leave_others();
  EXPECT_EQ(in_flight.count(0), kLimit - 1);
  in_flight.announce(0, 2);  // a wish that was left behind
  free(0, 0);
  EXPECT_EQ(in_flight.count(0), 0);
}

TEST_F(UpstreamQueueTest, MoreWorkersThanBitsLoseNothing) {
  more_workers(130);
  fill(0);
  begin("a", {0}, 0, 3);
  begin("b", {0}, 0, 67);
  begin("c", {0}, 0, 129);
  for (int i = 0; i < 5; ++i) {
    free(0, 0);
    loop.run_for(UpstreamQueue::kLookInterval + milliseconds(1));
    deliver();
  }
  std::ranges::sort(served);
  EXPECT_EQ(served, "abc");
  EXPECT_EQ(in_flight.count(0), 0);
}

// Real threads. The limit holds at every moment, everybody is served, and no slot is lost.
class OnThreads {
 public:
  static constexpr std::size_t kWorkers = 4;
  static constexpr int kRequests = 400;  // of each worker, all at once
  static constexpr std::uint32_t kUpstreams = 2;
  static constexpr std::uint32_t kMost = 3;

  void run() {
    for (std::size_t i = 0; i < kWorkers; ++i) {
      nodes.push_back(std::make_unique<Node>(in_flight));
      Node& node = *nodes.back();
      slots->open(i, [&node] { node.loop.post([&node] { node.queue.take_freed(); }); });
      node.queue.join(slots, i);
    }
    std::vector<std::thread> threads;
    for (const auto& node : nodes) {
      threads.emplace_back([this, &node] {
        node->left = kRequests;
        for (int i = 0; i < kRequests; ++i) node->loop.spawn(request(*node, i));
        node->loop.run();
        node->queue.leave_others();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  struct Node {
    explicit Node(sense::InFlight& in_flight) : loop(clock), shard(1, kUpstreams), queue(loop, in_flight, shard) {}
    SystemClock clock;
    rt::EpollLoop loop;
    sense::Shard shard;
    UpstreamQueue queue;
    int left = 0;
    int served = 0;
  };

  rt::Task<> request(Node& node, int number) {
    Seeker seeker(in_flight, {0, 1}, kMost);
    rt::Cancel cancel;
    Waited waited = Waited::served;
    if (!node.queue.empty()) node.queue.look();
    if (!seeker.seek()) {
      auto waiting = node.queue.wait(seeker, 0, kRequests, seconds(60), cancel);
      waited = co_await std::move(waiting);
    }
    if (waited == Waited::served) {
      ++node.served;
      std::atomic<int>& there = serving[*seeker.found];
      if (there.fetch_add(1) >= static_cast<int>(kMost)) exceeded = true;
      // Some are served at once, some take several turns of the loop.
      for (int i = 0; i < number % 3; ++i) co_await rt::next_batch(node.loop);
      there.fetch_sub(1);
      node.queue.freed(*seeker.found, kMost);
    }
    if (--node.left == 0) node.loop.stop();
  }

  sense::InFlight in_flight{kUpstreams};
  std::shared_ptr<FreedSlots> slots = std::make_shared<FreedSlots>(kWorkers);
  std::vector<std::unique_ptr<Node>> nodes;
  std::atomic<int> serving[kUpstreams] = {};
  std::atomic<bool> exceeded = false;
};

TEST(UpstreamQueueOnThreads, TheLimitHoldsAndEverybodyIsServed) {
  OnThreads world;
  world.run();
  EXPECT_FALSE(world.exceeded);
  for (const auto& node : world.nodes) EXPECT_EQ(node->served, OnThreads::kRequests);
  for (std::uint32_t i = 0; i < OnThreads::kUpstreams; ++i) EXPECT_EQ(world.in_flight.count(i), 0);
}

}  // namespace
}  // namespace dao::server
