// DAO's own figures as the demo shows them, from the text of /metrics. Values; one thread.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/net/address.h"

namespace dao {

// One scrape: what the demo shows, summed over routes, workers and the labels it does not care for.
struct DemoSample {
  Instant taken{};
  double requests = 0;
  double errors = 0;  // answered with 5xx, or not at all
  double retries = 0;
  std::map<double, double> duration_buckets;  // upper bound in seconds -> requests up to it
  std::map<std::string, double> attempts;     // by upstream
};

// Prometheus' text format 0.0.4, as far as the above needs it.
DemoSample parse_metrics(std::string_view text);

// Asks for /metrics. The error is a text for the user. Blocks, at most a few seconds.
std::expected<DemoSample, std::string> scrape(const net::SocketAddress& telemetry);

// "79 req/s | p50 6.1 ms  p99 231 ms | errors 0.0 % | retries 4.9/s | steady 46 %  slow 8 %  flaky 46 %": what happened
// between the two samples.
std::string figures_line(const DemoSample& from, const DemoSample& to, const std::vector<std::string>& upstreams);

// The duration below which `share` of the requests between the two samples stayed, in seconds; linear within a bucket.
double quantile(const DemoSample& from, const DemoSample& to, double share);

}  // namespace dao
