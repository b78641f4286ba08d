#include "dao/telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace dao::telemetry {
namespace {

using sense::FinishedAttempt;
using sense::FinishedRequest;
using sense::Shard;

// The exposition text, read back: "name{labels}" -> value, and the type of each family.
struct Exposition {
  std::map<std::string, double> series;
  std::map<std::string, std::string> types;
  std::set<std::string> helped;
};

Exposition parse(const std::string& text) {
  static const std::regex kSample(R"re(([a-z0-9_]+)(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? (\S+))re");
  Exposition result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash;
    std::string keyword;
    std::string name;
    if (line.starts_with("# ")) {
      words >> hash >> keyword >> name;
      if (keyword == "HELP") {
        EXPECT_TRUE(result.helped.insert(name).second) << "family twice: " << line;
      } else {
        EXPECT_EQ(keyword, "TYPE") << line;
        words >> result.types[name];
      }
      continue;
    }
    std::smatch match;
    EXPECT_TRUE(std::regex_match(line, match, kSample)) << line;
    EXPECT_TRUE(result.series.emplace(match[1].str() + match[2].str(), std::stod(match[5])).second)
        << "series twice: " << line;
  }
  return result;
}

class MetricsTest : public testing::Test {
 protected:
  Exposition scrape() {
    const std::array<const Shard*, 2> shards = {&one_, &two_};
    return parse(render_metrics(
        {.shards = shards,
         .routes = routes_,
         .upstreams = upstreams_,
         .in_flight = &in_flight_,
         .view = &view_,
         .mind_steps = &mind_steps_,
         .access_log_dropped = 3,
         .log_dropped = 4,
         .ready = true,
         .version = "1.2.3",
         .config = {.generation = 7,
                    .reloads_applied = 6,
                    .reloads_failed = 2,
                    .last_reload_successful = false,
                    .last_success_seconds = 1.5e9,
                    .pending_restart = 1},
         .store = {.persistent = true,
                   .healthy = false,
                   .pending = 3,
                   .written = 40,
                   .flushes = 5,
                   .failures = 9,
                   .lost = 8,
                   .begun_anew = 1},
         .process = {
             .cpu_seconds = 1.5, .start_time_seconds = 1e9, .resident_bytes = 4096, .open_fds = 10, .max_fds = 1024}}));
  }
  double value(const std::string& series) {
    const auto exposition = scrape();
    const auto found = exposition.series.find(series);
    return found == exposition.series.end() ? std::nan("") : found->second;
  }

  std::vector<Numbered> routes_ = {{"api", 0}, {"web", 1}};
  std::vector<Numbered> upstreams_ = {{"a", 0}, {"b", 1}};
  Shard one_{2, 2};
  Shard two_{2, 2};
  sense::InFlight in_flight_{2};
  sense::View view_;
  sense::Histogram mind_steps_;
};

TEST_F(MetricsTest, EverySampleBelongsToADeclaredFamily) {
  const auto exposition = scrape();
  EXPECT_GT(exposition.series.size(), 100U);
  for (const auto& [series, number] : exposition.series) {
    std::string family = series.substr(0, series.find('{'));
    if (!exposition.types.contains(family)) {
      for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        if (family.ends_with(suffix)) family.resize(family.size() - suffix.size());
      }
      EXPECT_EQ(exposition.types.at(family), "histogram") << series;
    }
    EXPECT_TRUE(exposition.helped.contains(family)) << series;
  }
}

TEST_F(MetricsTest, NamesFollowTheConventions) {
  for (const auto& [name, type] : scrape().types) {
    EXPECT_TRUE(name.starts_with("dao_") || name.starts_with("process_")) << name;
    EXPECT_EQ(name.ends_with("_total"), type == "counter") << name;
  }
}

TEST_F(MetricsTest, TellsOfConfigurationAndStore) {
  EXPECT_EQ(value("dao_config_generation"), 7);
  EXPECT_EQ(value("dao_config_last_reload_successful"), 0);
  EXPECT_EQ(value("dao_config_last_reload_success_timestamp_seconds"), 1.5e9);
  EXPECT_EQ(value(R"(dao_config_reloads_total{result="applied"})"), 6);
  EXPECT_EQ(value(R"(dao_config_reloads_total{result="failed"})"), 2);
  EXPECT_EQ(value("dao_config_pending_restart"), 1);
  EXPECT_EQ(value("dao_store_persistent"), 1);
  EXPECT_EQ(value("dao_store_healthy"), 0);
  EXPECT_EQ(value("dao_store_pending_writes"), 3);
  EXPECT_EQ(value("dao_store_writes_total"), 40);
  EXPECT_EQ(value("dao_store_flushes_total"), 5);
  EXPECT_EQ(value("dao_store_failures_total"), 9);
  EXPECT_EQ(value("dao_store_lost_writes_total"), 8);
  EXPECT_EQ(value("dao_store_begun_anew_total"), 1);
}

TEST_F(MetricsTest, RequestsAreSummedOverWorkers) {
  one_.record(FinishedRequest{.route = 0, .status = 200, .request_bytes = 5, .response_bytes = 7});
  two_.record(FinishedRequest{.route = 0, .status = 204, .request_bytes = 5, .response_bytes = 7});
  two_.record(FinishedRequest{.route = 1, .status = 500});
  two_.record(FinishedRequest{.status = 404});
  EXPECT_EQ(value(R"(dao_requests_total{route="api",code_class="2xx"})"), 2);
  EXPECT_EQ(value(R"(dao_requests_total{route="web",code_class="5xx"})"), 1);
  EXPECT_EQ(value(R"(dao_requests_total{route="web",code_class="2xx"})"), 0);
  EXPECT_EQ(value(R"re(dao_requests_total{route="(none)",code_class="4xx"})re"), 1);
  EXPECT_EQ(value(R"(dao_request_bytes_total{route="api"})"), 10);
  EXPECT_EQ(value(R"(dao_response_bytes_total{route="api"})"), 14);
}

TEST_F(MetricsTest, PresenceIsOneOfFourStates) {
  EXPECT_EQ(value(R"(dao_upstream_presence_state{upstream="a",state="unknown"})"), 1);  // before the first view
  view_.upstreams.resize(2);
  view_.upstreams[1].presence = sense::Presence::absent;
  view_.upstreams[1].figures.entered[3] = 2;
  view_.upstreams[1].figures.probes_failed = 5;
  view_.upstreams[1].figures.trials = 4;
  view_.upstreams[1].figures.trials_failed = 3;
  EXPECT_EQ(value(R"(dao_upstream_presence_state{upstream="b",state="absent"})"), 1);
  EXPECT_EQ(value(R"(dao_upstream_presence_state{upstream="b",state="unknown"})"), 0);
  EXPECT_EQ(value(R"(dao_upstream_presence_state{upstream="a",state="absent"})"), 0);
  EXPECT_EQ(value(R"(dao_upstream_presence_transitions_total{upstream="b",state="absent"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_probes_total{upstream="b",outcome="failed"})"), 5);
  EXPECT_EQ(value(R"(dao_upstream_trials_total{upstream="b"})"), 4);
  EXPECT_EQ(value(R"(dao_upstream_trials_failed_total{upstream="b"})"), 3);
  one_.record_fail_open(1);
  EXPECT_EQ(value(R"(dao_route_fail_open_total{route="web"})"), 1);
}

TEST_F(MetricsTest, HistogramsAreCumulative) {
  one_.record(FinishedRequest{.route = 0, .status = 200, .duration_ns = 100'000});
  two_.record(FinishedRequest{.route = 0, .status = 200, .duration_ns = 3'000'000});
  two_.record(FinishedRequest{.route = 0, .status = 200, .duration_ns = 60'000'000'000});
  EXPECT_EQ(value(R"(dao_request_duration_seconds_bucket{route="api",le="0.0001"})"), 1);
  EXPECT_EQ(value(R"(dao_request_duration_seconds_bucket{route="api",le="0.0025"})"), 1);
  EXPECT_EQ(value(R"(dao_request_duration_seconds_bucket{route="api",le="0.005"})"), 2);
  EXPECT_EQ(value(R"(dao_request_duration_seconds_bucket{route="api",le="10"})"), 2);
  EXPECT_EQ(value(R"(dao_request_duration_seconds_bucket{route="api",le="+Inf"})"), 3);
  EXPECT_EQ(value(R"(dao_request_duration_seconds_count{route="api"})"), 3);
  EXPECT_DOUBLE_EQ(value(R"(dao_request_duration_seconds_sum{route="api"})"), 60.0031);
}

TEST_F(MetricsTest, UpstreamFiguresAreSummedOverWorkers) {
  for (Shard* shard : {&one_, &two_}) {
    shard->record(FinishedAttempt{.upstream = 1, .status = 200, .reused_connection = true, .head_ns = 1'000});
    shard->record(FinishedAttempt{.upstream = 1, .error = ErrorKind::refused});
    shard->record_retry(1, sense::RetryReason::connect_failure);
    shard->upstream(1).connects.add(2);
    shard->upstream(1).connect_failures.add();
    shard->upstream(1).connections_idle.set(3);
    shard->upstream(1).connections_active.set(1);
  }
  in_flight_.enter(1);
  EXPECT_EQ(value(R"(dao_upstream_requests_total{upstream="b",code_class="2xx"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_requests_total{upstream="b",code_class="none"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_errors_total{upstream="b",reason="refused"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_errors_total{upstream="a",reason="refused"})"), 0);
  EXPECT_EQ(value(R"(dao_upstream_response_head_seconds_count{upstream="b"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_in_flight{upstream="b"})"), 1);
  EXPECT_EQ(value(R"(dao_upstream_connections{upstream="b",state="idle"})"), 6);
  EXPECT_EQ(value(R"(dao_upstream_connections{upstream="b",state="active"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_connects_total{upstream="b"})"), 4);
  EXPECT_EQ(value(R"(dao_upstream_connect_failures_total{upstream="b"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_reused_connections_total{upstream="b"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_retries_total{upstream="b",reason="connect-failure"})"), 2);
}

TEST_F(MetricsTest, WhatTheMindSeesIsShownInBaseUnits) {
  view_.number = 17;
  view_.samples_lost = 3;
  view_.upstreams.resize(2);
  sense::UpstreamView& upstream = view_.upstreams[0];
  upstream.requests = 50;
  upstream.rps = 12.5;
  upstream.error_rate = 0.25;
  upstream.p50_ms = 10;
  upstream.p95_ms = 20;
  upstream.p99_ms = 30;
  upstream.tempo_spikiness = 0.5;
  upstream.load_resonance = 4;
  view_.routes.resize(2);
  sense::RouteView& route = view_.routes[1];
  route.requests = 40;
  route.rps = 8;
  route.error_rate = 0.125;
  route.p50_ms = 15;
  route.p95_ms = 25;
  route.p99_ms = 35;
  route.tempo_spikiness = 0.75;
  route.typical_ms = 9;
  mind_steps_.record(300'000);
  EXPECT_EQ(value(R"(dao_upstream_latency_window_seconds{upstream="a",quantile="0.5"})"), 0.010);
  EXPECT_EQ(value(R"(dao_upstream_latency_window_seconds{upstream="a",quantile="0.95"})"), 0.020);
  EXPECT_EQ(value(R"(dao_upstream_latency_window_seconds{upstream="a",quantile="0.99"})"), 0.030);
  EXPECT_EQ(value(R"(dao_upstream_error_ratio{upstream="a"})"), 0.25);
  EXPECT_EQ(value(R"(dao_upstream_requests_per_second{upstream="a"})"), 12.5);
  EXPECT_EQ(value(R"(dao_upstream_tempo_spikiness{upstream="a"})"), 0.5);
  EXPECT_EQ(value(R"(dao_upstream_load_resonance{upstream="a"})"), 4);
  EXPECT_EQ(value(R"(dao_route_latency_window_seconds{route="web",quantile="0.5"})"), 0.015);
  EXPECT_EQ(value(R"(dao_route_latency_window_seconds{route="web",quantile="0.99"})"), 0.035);
  EXPECT_EQ(value(R"(dao_route_error_ratio{route="web"})"), 0.125);
  EXPECT_EQ(value(R"(dao_route_requests_per_second{route="web"})"), 8);
  EXPECT_EQ(value(R"(dao_route_tempo_spikiness{route="web"})"), 0.75);
  EXPECT_EQ(value(R"(dao_route_typical_latency_seconds{route="web"})"), 0.009);
  EXPECT_EQ(value("dao_mind_steps_total"), 17);
  EXPECT_EQ(value("dao_mind_samples_lost_total"), 3);
  EXPECT_EQ(value("dao_mind_step_seconds_count"), 1);
}

TEST_F(MetricsTest, WithoutRequestsThereAreRatesButNoQuantilesAndNoRatio) {
  view_.upstreams.resize(2);
  view_.routes.resize(2);
  EXPECT_EQ(value(R"(dao_upstream_requests_per_second{upstream="b"})"), 0);
  EXPECT_EQ(value(R"(dao_upstream_load_resonance{upstream="b"})"), 0);
  EXPECT_TRUE(std::isnan(value(R"(dao_upstream_latency_window_seconds{upstream="b",quantile="0.5"})")));
  EXPECT_TRUE(std::isnan(value(R"(dao_upstream_error_ratio{upstream="b"})")));
  EXPECT_TRUE(std::isnan(value(R"(dao_route_typical_latency_seconds{route="api"})")));
}

TEST_F(MetricsTest, OfUpstreamsOfOneNameTheBusiestIsSeen) {
  upstreams_ = {{"a", 0}, {"a", 1}};
  view_.upstreams.resize(2);
  view_.upstreams[0].requests = 5;
  view_.upstreams[0].error_rate = 1;
  view_.upstreams[1].requests = 500;
  view_.upstreams[1].rps = 100;
  EXPECT_EQ(value(R"(dao_upstream_error_ratio{upstream="a"})"), 0);
  EXPECT_EQ(value(R"(dao_upstream_requests_per_second{upstream="a"})"), 100);
}

TEST_F(MetricsTest, WorkerFiguresAreSummed) {
  for (Shard* shard : {&one_, &two_}) {
    shard->worker().connections_accepted.add(5);
    shard->worker().connections_closed.add(2);
    shard->worker().connections_active.set(1);
    shard->worker().connections_idle.set(2);
    shard->worker().requests_active.set(1);
    shard->worker().tasks.set(9);
    shard->worker().retries_denied.add(1);
    shard->record(Error{.origin = Origin::client, .kind = ErrorKind::malformed});
    shard->record(Error{.origin = Origin::us, .kind = ErrorKind::no_route});
  }
  EXPECT_EQ(value("dao_connections_accepted_total"), 10);
  EXPECT_EQ(value("dao_connections_closed_total"), 4);
  EXPECT_EQ(value(R"(dao_connections{state="active"})"), 2);
  EXPECT_EQ(value(R"(dao_connections{state="idle"})"), 4);
  EXPECT_EQ(value("dao_requests_active"), 2);
  EXPECT_EQ(value("dao_tasks"), 18);
  EXPECT_EQ(value("dao_workers"), 2);
  EXPECT_EQ(value("dao_retries_denied_total"), 2);
  EXPECT_EQ(value(R"(dao_client_errors_total{reason="malformed"})"), 2);
  EXPECT_EQ(value(R"(dao_rejected_requests_total{reason="no_route"})"), 2);
}

TEST_F(MetricsTest, GrpcCallsByTheirStatus) {
  one_.record(FinishedRequest{.route = 0, .status = 200, .grpc_status = 0});
  two_.record(FinishedRequest{.route = 0, .status = 200, .grpc_status = 0});
  two_.record(FinishedRequest{.route = 0, .status = 200, .grpc_status = 14});
  two_.record(FinishedRequest{.route = 0, .status = 0, .grpc_status = sense::kNoGrpcStatus});
  two_.record(FinishedRequest{.route = 1, .status = 200});
  EXPECT_EQ(value(R"(dao_grpc_calls_total{route="api",grpc_status="OK"})"), 2);
  EXPECT_EQ(value(R"(dao_grpc_calls_total{route="api",grpc_status="UNAVAILABLE"})"), 1);
  EXPECT_EQ(value(R"(dao_grpc_calls_total{route="api",grpc_status="none"})"), 1);
  EXPECT_TRUE(std::isnan(value(R"(dao_grpc_calls_total{route="api",grpc_status="INTERNAL"})")));
  EXPECT_TRUE(std::isnan(value(R"(dao_grpc_calls_total{route="web",grpc_status="OK"})")));
}

TEST_F(MetricsTest, FloodsByTheirKind) {
  EXPECT_EQ(value(R"(dao_http2_floods_total{kind="queued_answers"})"), 0);
  one_.worker().floods[0].add();
  two_.worker().floods[0].add();
  EXPECT_EQ(value(R"(dao_http2_floods_total{kind="resets"})"), 2);
}

TEST_F(MetricsTest, UnusualReasonsAppearWithTheirFirstError) {
  EXPECT_TRUE(std::isnan(value(R"(dao_client_errors_total{reason="io"})")));
  one_.record(Error{.origin = Origin::client, .kind = ErrorKind::io});
  EXPECT_EQ(value(R"(dao_client_errors_total{reason="io"})"), 1);
}

TEST_F(MetricsTest, ProcessAndBuild) {
  EXPECT_EQ(value("dao_ready"), 1);
  EXPECT_EQ(value(R"(dao_build_info{version="1.2.3"})"), 1);
  EXPECT_EQ(value("dao_access_log_dropped_total"), 3);
  EXPECT_EQ(value("dao_log_dropped_total"), 4);
  EXPECT_EQ(value("process_cpu_seconds_total"), 1.5);
  EXPECT_EQ(value("process_start_time_seconds"), 1e9);
  EXPECT_EQ(value("process_resident_memory_bytes"), 4096);
  EXPECT_EQ(value("process_open_fds"), 10);
  EXPECT_EQ(value("process_max_fds"), 1024);
}

TEST_F(MetricsTest, LargeCountersAreExact) {
  constexpr std::uint64_t kLarge = (std::uint64_t{1} << 53U) - 1;
  one_.record(FinishedRequest{.route = 0, .status = 200, .response_bytes = kLarge});
  EXPECT_EQ(value(R"(dao_response_bytes_total{route="api"})"), static_cast<double>(kLarge));
}

TEST_F(MetricsTest, UpstreamsOfOneNameAreOneSeries) {
  upstreams_ = {{"same", 0}, {"same", 1}};
  one_.record(FinishedAttempt{.upstream = 0, .status = 200});
  one_.record(FinishedAttempt{.upstream = 1, .status = 200});
  in_flight_.enter(0);
  in_flight_.enter(1);
  EXPECT_EQ(value(R"(dao_upstream_requests_total{upstream="same",code_class="2xx"})"), 2);
  EXPECT_EQ(value(R"(dao_upstream_in_flight{upstream="same"})"), 2);
}

TEST_F(MetricsTest, LabelValuesAreEscaped) {
  routes_ = {{"a\"b\\c\nd", 0}, {"web", 1}};
  one_.record(FinishedRequest{.route = 0, .status = 200, .response_bytes = 1});
  EXPECT_EQ(value(R"(dao_response_bytes_total{route="a\"b\\c\nd"})"), 1);
}

TEST(ProcessFiguresTest, AreThoseOfThisProcess) {
  const ProcessFigures figures = read_process_figures();
  EXPECT_GT(figures.cpu_seconds, 0);
  EXPECT_GT(figures.start_time_seconds, 1.7e9);
  EXPECT_GT(figures.resident_bytes, 1U << 20U);
  EXPECT_GE(figures.open_fds, 3U);
  EXPECT_GE(figures.max_fds, figures.open_fds);
}

}  // namespace
}  // namespace dao::telemetry
