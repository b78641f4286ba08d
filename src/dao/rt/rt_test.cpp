// The runtime's contract, in virtual time.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "dao/rt/epoll_loop.h"
#include "dao/rt/event.h"
#include "dao/rt/join.h"

namespace dao::rt {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Task, DeepSequencesOfAwaitsDoNotGrowTheStack) {
  VirtualLoop loop;
  auto leaf = []() -> Task<int> { co_return 1; };
  auto sum = [](auto make) -> Task<int> {
    int total = 0;
    for (int i = 0; i < 1'000'000; ++i) {
      const int one = co_await make();
      total += one;
    }
    co_return total;
  };
  EXPECT_EQ(loop.run_task(sum(leaf)), 1'000'000);
}

TEST(Event, DeadlineWakesTheWaiterAndNotEarly) {
  VirtualLoop loop;
  const Instant start = loop.now();
  Event never;
  auto wait = [](Loop& l, Event& e, Instant deadline) -> Task<Wake> {
    const Wake wake = co_await e.wait(l, deadline);
    co_return wake;
  };
  EXPECT_EQ(loop.run_task(wait(loop, never, start + milliseconds(250))), Wake::timed_out);
  EXPECT_GE(loop.now() - start, milliseconds(250));
  EXPECT_LE(loop.now() - start, milliseconds(252));
}

TEST(Event, SignalSetBeforeTheWaitIsRemembered) {
  VirtualLoop loop;
  Event event;
  event.set();
  auto wait = [](Loop& l, Event& e) -> Task<Wake> {
    const Wake wake = co_await e.wait(l, l.now() + seconds(1));
    co_return wake;
  };
  EXPECT_EQ(loop.run_task(wait(loop, event)), Wake::ready);
  EXPECT_EQ(loop.run_task(wait(loop, event)), Wake::timed_out) << "the signal is consumed";
}

TEST(Cancel, ReachesAWaitThroughParentAndChild) {
  VirtualLoop loop;
  Cancel parent;
  Cancel child{&parent};
  Event never;
  auto wait = [](Loop& l, Event& e, Cancel& c) -> Task<Wake> {
    const Wake wake = co_await e.wait(l, kNever, &c);
    co_return wake;
  };
  auto canceller = [](Loop& l, Cancel& c) -> Task<> {
    const Wake wake = co_await sleep_until(l, l.now() + milliseconds(10));
    EXPECT_EQ(wake, Wake::timed_out);
    c.request(ErrorKind::draining);
  };
  loop.spawn(canceller(loop, parent));
  EXPECT_EQ(loop.run_task(wait(loop, never, child)), Wake::cancelled);
  EXPECT_EQ(child.why(), ErrorKind::draining);
  EXPECT_EQ(loop.run_task(wait(loop, never, child)), Wake::cancelled) << "later waits return at once";
  EXPECT_EQ(loop.live_tasks(), 0U);
  EXPECT_EQ(loop.timers().size(), 0U);
}

Task<int> after(Loop& loop, Nanoseconds delay, int value, Cancel* cancel, int& ended) {
  const Wake wake = co_await sleep_until(loop, loop.now() + delay, cancel);
  ++ended;
  co_return wake == Wake::cancelled ? -value : value;
}

TEST(Join, EndsWhenBothHaveEnded) {
  VirtualLoop loop;
  int ended = 0;
  const auto [a, b] = loop.run_task(
      join(after(loop, milliseconds(5), 1, nullptr, ended), after(loop, milliseconds(50), 2, nullptr, ended)));
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 2);
  EXPECT_EQ(ended, 2);
}

TEST(Join, ChildrenThatNeverSuspend) {
  VirtualLoop loop;
  auto at_once = [](int value) -> Task<int> { co_return value; };
  const auto [a, b] = loop.run_task(join(at_once(1), at_once(2)));
  EXPECT_EQ(a + b, 3);
}

TEST(Race, TheLoserIsCancelledAndJoined) {
  VirtualLoop loop;
  const Instant start = loop.now();
  int ended = 0;
  Cancel loser;
  const auto [a, b] = loop.run_task(join(racing(after(loop, milliseconds(5), 1, &loser, ended), loser),
                                         racing(after(loop, seconds(100), 2, &loser, ended), loser)));
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, -2) << "woken by cancellation";
  EXPECT_EQ(ended, 2);
  EXPECT_LT(loop.now() - start, milliseconds(10));
  EXPECT_EQ(loop.timers().size(), 0U);
}

TEST(TimerWheel, FiresInOrderAtEveryScale) {
  const Instant start{};
  TimerWheel wheel(start);
  struct Probe : Timer {
    std::vector<std::int64_t>* fired;
    std::int64_t due_ms;
  };
  std::vector<std::int64_t> fired;
  const std::int64_t due[] = {1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262143, 262144, 1'000'000, 90'000'000};
  std::vector<Probe> probes(std::size(due));
  for (std::size_t i = 0; i < std::size(due); ++i) {
    probes[i].fired = &fired;
    probes[i].due_ms = due[i];
    probes[i].fire = [](Timer& t) { static_cast<Probe&>(t).fired->push_back(static_cast<Probe&>(t).due_ms); };
    wheel.schedule(probes[i], start + milliseconds(due[i]));
  }
  for (const std::int64_t ms : due) {
    const Instant next = wheel.next_expiry();
    EXPECT_LE(next, start + milliseconds(ms)) << ms;
    wheel.advance(start + milliseconds(ms) - Nanoseconds(1));
    EXPECT_TRUE(fired.empty() || fired.back() != ms) << "never early: " << ms;
    wheel.advance(start + milliseconds(ms));
    ASSERT_FALSE(fired.empty());
    EXPECT_EQ(fired.back(), ms);
  }
  EXPECT_EQ(wheel.size(), 0U);
  EXPECT_EQ(wheel.next_expiry(), kNever);
}

TEST(TimerWheel, RandomScheduleAgainstAPlainModel) {
  std::uint64_t seed = 42;
  auto random = [&seed] { return (seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 33U; };
  TimerWheel wheel(Instant{});
  struct Probe : Timer {
    std::int64_t due_ms = 0;
    bool armed = false;
    std::int64_t* now_ms = nullptr;
    int* wrong = nullptr;
  };
  std::int64_t now_ms = 0;
  int wrong = 0;
  std::vector<Probe> probes(300);
  for (Probe& probe : probes) {
    probe.now_ms = &now_ms;
    probe.wrong = &wrong;
    probe.fire = [](Timer& t) {
      auto& self = static_cast<Probe&>(t);
      if (!self.armed || self.due_ms > *self.now_ms) ++*self.wrong;
      self.armed = false;
    };
  }
  for (int step = 0; step < 20'000; ++step) {
    Probe& probe = probes[random() % probes.size()];
    if (random() % 4 == 0) {
      wheel.cancel(probe);
      probe.armed = false;
    } else {
      probe.due_ms = now_ms + 1 + static_cast<std::int64_t>(random() % (random() % 3 == 0 ? 300'000 : 200));
      probe.armed = true;
      wheel.schedule(probe, Instant{} + milliseconds(probe.due_ms));
    }
    now_ms += static_cast<std::int64_t>(random() % (random() % 50 == 0 ? 5'000 : 3));
    wheel.advance(Instant{} + milliseconds(now_ms));
    for (const Probe& each : probes) {
      if (each.armed && each.due_ms <= now_ms) ++wrong;
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST(EpollLoop, MessagesFromOtherThreadsArriveInOrder) {
  const SystemClock clock;
  EpollLoop loop(clock);
  std::vector<int> seen;
  std::thread sender([&loop, &seen] {
    for (int i = 0; i < 1000; ++i) loop.post([&seen, i] { seen.push_back(i); });
    loop.request_stop();
  });
  loop.run();
  sender.join();
  ASSERT_EQ(seen.size(), 1000U);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(AfterOthers, AllOfABatchReadBeforeAnyWrites) {
  VirtualLoop loop;
  std::string order;
  auto connection = [&](char name) -> Task<> {
    order += name;
    co_await after_others(loop);
    order += static_cast<char>(name - 'a' + 'A');
  };
  for (const char name : {'a', 'b', 'c'}) loop.spawn(connection(name));
  loop.run();
  EXPECT_EQ(order, "abcABC");
  EXPECT_EQ(loop.live_tasks(), 0U);
}

TEST(AfterOthers, EndsWithinTheBatch) {
  VirtualLoop loop;
  std::string order;
  auto patient = [&]() -> Task<> {
    co_await next_batch(loop);
    order += 'n';
  };
  auto one = [&]() -> Task<> {
    co_await after_others(loop);
    order += 'o';
  };
  loop.spawn(patient());
  loop.spawn(one());
  loop.run();
  EXPECT_EQ(order, "on");
}

// A child has copies of all descriptors between fork and exec, and for the kernel a watch goes on as long as any of
// them is open: it would tell of a source that is no more.
TEST(EpollLoop, NothingIsHeardOfAClosedDescriptorThatHasACopy) {
  struct Source final : IoSource {
    void on_events(std::uint32_t) override { ++events; }
    int events = 0;
  };
  const SystemClock clock;
  EpollLoop loop(clock);
  Source source;
  int ends[2] = {-1, -1};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  ASSERT_TRUE(loop.watch(ends[0], source));
  const int copy = dup(ends[0]);
  loop.share_descriptors(true, [&] {
    source.events = 0;
    loop.close(ends[0]);
    EXPECT_EQ(write(ends[1], "x", 1), 1);
    loop.request_stop();
  });
  loop.run();
  EXPECT_EQ(source.events, 0);
  ::close(copy);
  ::close(ends[1]);
}

TEST(EpollLoop, ABusyLoopHearsOfEverything) {
  const SystemClock clock;
  EpollLoop loop(clock);
  loop.set_busy_poll(milliseconds(1));
  bool slept = false;
  auto sleeper = [&]() -> Task<> {
    const Wake wake = co_await sleep_until(loop, loop.now() + milliseconds(5));
    slept = wake == Wake::timed_out;
    loop.request_stop();
  };
  loop.spawn(sleeper());
  int messages = 0;
  std::thread sender([&] {
    for (int i = 0; i < 10; ++i) loop.post([&messages] { ++messages; });
  });
  loop.run();
  sender.join();
  EXPECT_TRUE(slept);
  EXPECT_EQ(messages, 10);
}

}  // namespace
}  // namespace dao::rt
