// What finding the rule of a request costs, among few rules and among many.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/server/route_table.h"

namespace dao::server {
namespace {

// Rules of all kinds, and requests of which each is for one of them. The last rule is for everything.
class Traffic {
 public:
  static constexpr std::size_t kRequests = 4096;

  explicit Traffic(std::size_t rules) {
    for (std::size_t i = 0; i < rules; ++i) rules_.push_back(make_rule(i, i + 1 == rules));
    Random random{1};
    for (std::size_t i = 0; i < kRequests; ++i) ask_for(random.below(rules));
    head_.add("Host", "as in the authority");
    head_.add("User-Agent", "bench/1.0");
    head_.add("Accept", "*/*");
    head_.add("X-Version", "2");
  }
  [[nodiscard]] const std::vector<config::Rule>& rules() const { return rules_; }
  [[nodiscard]] const http::RequestHead& next_request() {
    const Request& request = requests_[next_++ % kRequests];
    head_.authority = request.authority;
    head_.path = request.path;
    return head_;
  }

 private:
  struct Request {
    std::string authority;
    std::string path;
  };
  static std::string host(std::size_t i) { return "service-" + std::to_string(i) + ".shop.example.org"; }
  static std::string path(std::size_t i) { return "/api/v" + std::to_string(i % 3) + "/resource-" + std::to_string(i); }

  static config::Rule make_rule(std::size_t i, bool last) {
    config::Rule rule;
    if (last) return rule;
    config::Match& match = rule.match;
    const std::size_t kind = i % 10;
    if (kind == 6) {
      match.hosts = {{.wildcard = true, .text = "." + host(i)}};
    } else if (kind < 6 || kind == 9) {
      match.hosts = {{.wildcard = false, .text = host(i)}};
    }
    if (kind == 4 || kind == 5 || kind == 8) {
      match.path_exact = path(i);
    } else {
      match.path_prefix = path(i);
    }
    if (kind == 9) match.headers = {{.name = "x-version", .value = "2"}};
    return rule;
  }

  void ask_for(std::size_t rule) {
    const std::size_t kind = rule % 10;
    const bool exact = kind == 4 || kind == 5 || kind == 8;
    requests_.push_back({.authority = (kind == 6 ? "eu." : "") + host(rule),
                         .path = path(rule) + (exact ? "?page=2" : "/items/17?page=2")});
  }

  std::vector<config::Rule> rules_;
  std::vector<Request> requests_;
  http::RequestHead head_;
  std::size_t next_ = 0;
};

void find(benchmark::State& state) {
  Traffic traffic(static_cast<std::size_t>(state.range(0)));
  const RouteTable table{traffic.rules()};
  for (auto _ : state) benchmark::DoNotOptimize(table.find(traffic.next_request()));
}
BENCHMARK(find)->ArgName("rules")->Arg(1)->Arg(4)->Arg(10)->Arg(100)->Arg(10'000);

// For no rule but the last one, as long as a head may be: what somebody would send who wants it to be slow.
void find_for_hostile_request(benchmark::State& state) {
  const Traffic traffic(static_cast<std::size_t>(state.range(0)));
  const RouteTable table{traffic.rules()};
  std::string host;
  while (host.size() < 8000) host += "a.";
  const std::string path = "/api/v1/resource-1" + std::string(8000, '1');
  http::RequestHead request;
  request.authority = host;
  request.path = path;
  for (auto _ : state) benchmark::DoNotOptimize(table.find(request));
}
BENCHMARK(find_for_hostile_request)->ArgName("rules")->Arg(10)->Arg(10'000);

void make(benchmark::State& state) {
  const Traffic traffic(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(RouteTable{traffic.rules()});
}
BENCHMARK(make)->ArgName("rules")->Arg(10)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dao::server
