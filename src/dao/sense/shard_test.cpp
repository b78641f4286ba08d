#include "dao/sense/shard.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "dao/sense/in_flight.h"

namespace dao::sense {
namespace {

constexpr std::size_t index_of(ErrorKind kind) {
  return static_cast<std::size_t>(kind);
}

TEST(ShardTest, EveryErrorKindHasACounter) {
  EXPECT_NE(name_of(static_cast<ErrorKind>(kErrorKinds - 1)), "unknown");
  EXPECT_EQ(name_of(static_cast<ErrorKind>(kErrorKinds)), "unknown") << "kErrorKinds must follow the last ErrorKind";
}

TEST(ShardTest, StatusClasses) {
  EXPECT_EQ(status_class(0), 0U);
  EXPECT_EQ(status_class(99), 0U);
  EXPECT_EQ(status_class(100), 1U);
  EXPECT_EQ(status_class(204), 2U);
  EXPECT_EQ(status_class(599), 5U);
  EXPECT_EQ(status_class(600), 0U);
}

TEST(ShardTest, GroupsDoNotShareCacheLines) {
  EXPECT_EQ(sizeof(RouteCounters) % 64, 0U);
  EXPECT_EQ(sizeof(UpstreamCounters) % 64, 0U);
  EXPECT_EQ(sizeof(WorkerCounters) % 64, 0U);
  const Shard shard{3, 3};
  for (const RouteCounters& route : shard.routes()) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&route) % 64, 0U);
}

TEST(ShardTest, ARequestCountsOnItsRoute) {
  Shard shard{2, 0};
  shard.record(
      FinishedRequest{.route = 1, .status = 404, .request_bytes = 10, .response_bytes = 20, .duration_ns = 300'000});
  const RouteCounters& route = shard.routes()[1];
  EXPECT_EQ(route.requests[4].value(), 1U);
  EXPECT_EQ(route.request_bytes.value(), 10U);
  EXPECT_EQ(route.response_bytes.value(), 20U);
  EXPECT_EQ(route.duration.in_bucket(bucket_of(300'000)), 1U);
  EXPECT_EQ(shard.routes()[0].requests[4].value(), 0U);
}

TEST(ShardTest, ARequestWithoutRouteHasItsOwnSlot) {
  Shard shard{2, 0};
  shard.record(FinishedRequest{.status = 404});
  ASSERT_EQ(shard.routes().size(), 2U);
  EXPECT_EQ(shard.unrouted().requests[4].value(), 1U);
}

TEST(ShardTest, NumbersAreAddedWithoutTouchingThoseThatAreThere) {
  Shard shard{1, 1};
  shard.record(FinishedRequest{.route = 0, .status = 200});
  const UpstreamCounters* upstream = &shard.upstream(0);
  const RouteCounters* route = &shard.route(0);
  shard.grow(10'000, 50'000);
  EXPECT_EQ(&shard.upstream(0), upstream);
  EXPECT_EQ(&shard.route(0), route);
  EXPECT_EQ(shard.routes()[0].requests[2].value(), 1U);
  ASSERT_EQ(shard.upstreams().size(), 50'000U);
  shard.record(FinishedAttempt{.upstream = 49'999, .status = 200, .head_ns = 1});
  EXPECT_EQ(shard.upstreams()[49'999].responses[2].value(), 1U);
}

TEST(ShardTest, ANumberBeginsAnewForAnotherOwner) {
  Shard shard{2, 2};
  shard.record(FinishedRequest{.route = 1, .status = 200, .response_bytes = 7, .duration_ns = 5});
  shard.record(FinishedAttempt{.upstream = 1, .status = 502, .error = ErrorKind::refused, .head_ns = 5});
  shard.record_retry(1, RetryReason::connect_failure);
  shard.upstream(1).outcomes[0].add();
  shard.upstream(1).connections_idle.add(3);
  shard.forget_route(1);
  shard.forget_upstream(1);
  EXPECT_EQ(shard.routes()[1].requests[2].value(), 0U);
  EXPECT_EQ(shard.routes()[1].duration.in_bucket(0), 0U);
  EXPECT_EQ(shard.gone().requests[2].value(), 1U);
  EXPECT_EQ(shard.gone().response_bytes.value(), 7U);
  const UpstreamCounters& upstream = shard.upstreams()[1];
  EXPECT_EQ(upstream.responses[5].value(), 0U);
  EXPECT_EQ(upstream.failures.value(), 0U);
  EXPECT_EQ(upstream.errors[index_of(ErrorKind::refused)].value(), 0U);
  EXPECT_EQ(upstream.retries[0].value(), 0U);
  EXPECT_EQ(upstream.outcomes[0].value(), 0U);
  EXPECT_EQ(upstream.connections_idle.value(), 0);
  EXPECT_EQ(upstream.response_head.sum_nanoseconds(), 0U);
}

TEST(ShardTest, AnAttemptCountsOnItsUpstream) {
  Shard shard{0, 2};
  shard.record(FinishedAttempt{.upstream = 1, .status = 200, .reused_connection = true, .head_ns = 1'000'000});
  shard.record(FinishedAttempt{.upstream = 1, .error = ErrorKind::refused});
  shard.record_retry(1, RetryReason::connect_failure);
  const UpstreamCounters& upstream = shard.upstreams()[1];
  EXPECT_EQ(upstream.reused.value(), 1U);
  EXPECT_EQ(upstream.responses[2].value(), 1U);
  EXPECT_EQ(upstream.responses[0].value(), 1U);
  EXPECT_EQ(upstream.errors[index_of(ErrorKind::refused)].value(), 1U);
  EXPECT_EQ(upstream.retries[0].value(), 1U);
  EXPECT_EQ(upstream.response_head.in_bucket(bucket_of(1'000'000)), 1U);
  EXPECT_EQ(upstream.response_head.sum_nanoseconds(), 1'000'000U);
}

TEST(ShardTest, ErrorsCountByOrigin) {
  Shard shard{0, 0};
  shard.record(Error{.origin = Origin::client, .kind = ErrorKind::malformed});
  shard.record(Error{.origin = Origin::us, .kind = ErrorKind::no_route});
  shard.record(Error{.origin = Origin::backend, .kind = ErrorKind::reset});
  EXPECT_EQ(shard.worker().client_errors[index_of(ErrorKind::malformed)].value(), 1U);
  EXPECT_EQ(shard.worker().rejected[index_of(ErrorKind::no_route)].value(), 1U);
  EXPECT_EQ(shard.worker().client_errors[index_of(ErrorKind::reset)].value(), 0U);
  EXPECT_EQ(shard.worker().rejected[index_of(ErrorKind::reset)].value(), 0U);
}

TEST(ShardTest, ShardsAddUp) {
  Shard one{1, 1};
  Shard two{1, 1};
  for (Shard* shard : {&one, &two}) {
    shard->record(FinishedRequest{.route = 0, .status = 200, .request_bytes = 1, .response_bytes = 2});
    shard->record(FinishedAttempt{.upstream = 0, .status = 503, .error = ErrorKind::incomplete});
    shard->record_retry(0, RetryReason::server_error);
    shard->record(Error{.origin = Origin::client, .kind = ErrorKind::reset});
    shard->record(Error{.origin = Origin::us, .kind = ErrorKind::draining});
    shard->upstream(0).connects.add(3);
    shard->upstream(0).connect_failures.add();
    shard->upstream(0).connections_idle.set(4);
    shard->upstream(0).connections_active.set(1);
    shard->worker().connections_accepted.add(9);
    shard->worker().connections_closed.add(4);
    shard->worker().connections_active.set(2);
    shard->worker().connections_idle.set(3);
    shard->worker().requests_active.add(2);
    shard->worker().requests_active.subtract(1);
    shard->worker().tasks.set(7);
    shard->worker().retries_denied.add(5);
    shard->worker().floods[3].add();
  }
  RouteCounters route;
  UpstreamCounters upstream;
  WorkerCounters worker;
  for (const Shard* shard : {&one, &two}) {
    route.add(shard->routes()[0]);
    upstream.add(shard->upstreams()[0]);
    worker.add(shard->worker());
  }
  EXPECT_EQ(route.requests[2].value(), 2U);
  EXPECT_EQ(route.request_bytes.value(), 2U);
  EXPECT_EQ(route.response_bytes.value(), 4U);
  EXPECT_EQ(route.duration.in_bucket(0), 2U);
  EXPECT_EQ(upstream.responses[5].value(), 2U);
  EXPECT_EQ(upstream.errors[index_of(ErrorKind::incomplete)].value(), 2U);
  EXPECT_EQ(upstream.retries[2].value(), 2U);
  EXPECT_EQ(upstream.connects.value(), 6U);
  EXPECT_EQ(upstream.connect_failures.value(), 2U);
  EXPECT_EQ(upstream.connections_idle.value(), 8);
  EXPECT_EQ(upstream.connections_active.value(), 2);
  EXPECT_EQ(upstream.response_head.in_bucket(0), 2U);
  EXPECT_EQ(worker.connections_accepted.value(), 18U);
  EXPECT_EQ(worker.connections_closed.value(), 8U);
  EXPECT_EQ(worker.connections_active.value(), 4);
  EXPECT_EQ(worker.connections_idle.value(), 6);
  EXPECT_EQ(worker.requests_active.value(), 2);
  EXPECT_EQ(worker.tasks.value(), 14);
  EXPECT_EQ(worker.retries_denied.value(), 10U);
  EXPECT_EQ(worker.floods[3].value(), 2U);
  EXPECT_EQ(worker.client_errors[index_of(ErrorKind::reset)].value(), 2U);
  EXPECT_EQ(worker.rejected[index_of(ErrorKind::draining)].value(), 2U);
}

TEST(ShardTest, AReaderSeesCountersGrowWhileTheOwnerWrites) {
  constexpr std::uint64_t kRequests = 100'000;
  Shard shard{1, 1};
  std::thread owner([&] {
    for (std::uint64_t i = 0; i < kRequests; ++i) {
      shard.record(FinishedRequest{.route = 0, .status = 200, .response_bytes = 1, .duration_ns = i});
      shard.record(FinishedAttempt{.upstream = 0, .status = 200, .head_ns = i});
    }
  });
  std::uint64_t last = 0;
  while (last < kRequests) {
    RouteCounters sum;
    sum.add(shard.routes()[0]);
    const std::uint64_t now = sum.requests[2].value();
    ASSERT_GE(now, last);
    last = now;
  }
  owner.join();
  EXPECT_EQ(shard.routes()[0].response_bytes.value(), kRequests);
}

TEST(InFlightTest, CountsOverThreads) {
  InFlight in_flight{2};
  std::thread other([&] {
    for (int i = 0; i < 10'000; ++i) in_flight.enter(1);
  });
  for (int i = 0; i < 9'999; ++i) {
    in_flight.enter(1);
    in_flight.leave(1);
  }
  other.join();
  EXPECT_EQ(in_flight.size(), 2U);
  EXPECT_EQ(in_flight.count(0), 0);
  EXPECT_EQ(in_flight.count(1), 10'000);
}

}  // namespace
}  // namespace dao::sense
