#include "dao/sense/fold.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "dao/sense/resonance.h"

namespace dao::sense {

namespace {

constexpr double kNanosecondsPerMillisecond = 1e6;

double quantile_ms(const LogHistogram& durations, double share) {
  return durations.quantile_nanoseconds(share) / kNanosecondsPerMillisecond;
}

// What upstreams and routes have in common.
template <class View>
void read_window(const Window& window, double elapsed, View& into) {
  into.requests = static_cast<double>(window.requests());
  into.rps = window.rate(elapsed);
  into.error_rate = window.error_rate();
  const LogHistogram& durations = window.durations();
  into.p50_ms = quantile_ms(durations, 0.5);
  into.p95_ms = quantile_ms(durations, 0.95);
  into.p99_ms = quantile_ms(durations, 0.99);
  into.mean_ms = durations.mean_nanoseconds() / kNanosecondsPerMillisecond;
  into.tempo_spikiness = window.spikiness();
}

// All that a window tells, and nothing of what others decide.
void show_traffic(const UpstreamView& seen, UpstreamView& into) {
  into.requests = seen.requests;
  into.rps = seen.rps;
  into.error_rate = seen.error_rate;
  into.p50_ms = seen.p50_ms;
  into.p95_ms = seen.p95_ms;
  into.p99_ms = seen.p99_ms;
  into.mean_ms = seen.mean_ms;
  into.tempo_spikiness = seen.tempo_spikiness;
}

}  // namespace

Fold::Fold(std::vector<const Shard*> shards, const std::vector<Members>& routes, const InFlight& in_flight)
    : shards_(std::move(shards)), in_flight_(in_flight) {
  for (const Shard* shard : shards_) read_to_.push_back(shard->samples().head());
  reconfigure(routes);
}

void Fold::reconfigure(const std::vector<Members>& routes) {
  // What is still in the rings belongs to those that have the numbers until now.
  if (second_ >= 0) {
    read_samples();
    count_touched();
  }
  upstreams_.resize(std::max(upstreams_.size(), in_flight_.size()));
  average_in_flight_.resize(upstreams_.size());
  awake_.resize(upstreams_.size());
  busy_.resize(upstreams_.size());
  changed_.assign(upstreams_.size(), second_ < 0 ? Instant::min() : before_);  // in whatever View is filled next
  std::vector<bool> has_route(routes_.size());
  std::vector<bool> has_upstream(upstreams_.size());
  for (Upstream& upstream : upstreams_) upstream.routes.clear();
  for (const Members& members : routes) {
    if (members.route >= routes_.size()) {
      routes_.resize(members.route + 1);
      has_route.resize(routes_.size());
    }
    has_route[members.route] = true;
    routes_[members.route].upstreams = members.upstreams;
    for (const std::uint32_t upstream : members.upstreams) {
      has_upstream[upstream] = true;
      upstreams_[upstream].routes.push_back(members.route);
    }
  }
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    Route& route = routes_[i];
    if (!has_route[i] && route.exists) route = {};
    if (has_route[i] && !route.exists) route.before = count_requests(i);
    route.exists = has_route[i];
  }
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    Upstream& upstream = upstreams_[i];
    if (!has_upstream[i] && upstream.exists) upstream = {};
    awake_[i] = upstream.window ? 1 : 0;
    if (!has_upstream[i] || !upstream.exists) average_in_flight_[i] = 0;
    if (has_upstream[i] && !upstream.exists) upstream.before = count_attempts(i);
    upstream.exists = has_upstream[i];
  }
}

Fold::Counted Fold::count_attempts(std::size_t upstream) const {
  Counted counted;
  for (const Shard* shard : shards_) {
    const UpstreamCounters& counters = shard->upstreams()[upstream];
    for (const Counter& count : counters.responses) counted.requests += count.value();
    counted.failures += counters.failures.value();
  }
  return counted;
}

Fold::Counted Fold::count_requests(std::size_t route) const {
  Counted counted;
  for (const Shard* shard : shards_) {
    const RouteCounters& counters = shard->routes()[route];
    for (const Counter& count : counters.requests) counted.requests += count.value();
    counted.failures += counters.requests[0].value() + counters.requests[5].value();
  }
  return counted;
}

void Fold::step(Instant now, View& into) {
  if (second_ < 0) start_ = before_ = now;
  elapsed_ = std::chrono::duration<double>(now - start_).count();
  advance_to(std::chrono::floor<std::chrono::seconds>(now - start_).count());
  average_in_flight(std::chrono::duration<double>(now - before_).count());
  read_samples();
  count_touched();
  before_ = now;

  into.samples_lost = samples_lost_;
  show_routes(into);
  show_upstreams(now, into);
  into.folded_at = now;
}

void Fold::show_routes(View& into) const {
  into.routes.assign(routes_.size(), {});
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const Route& route = routes_[i];
    RouteView& view = into.routes[i];
    if (route.window) view = route.seen;
    view.typical_ms = route.latency_ms.value();
    view.typical_in_flight = route.in_flight.value();
    view.typical_error_rate = route.error_rate.value();
  }
}

void Fold::show_upstreams(Instant now, View& into) {
  const bool filled_before = into.upstreams.size() == upstreams_.size();
  const Instant since = filled_before ? into.folded_at : Instant::min();
  into.upstreams.resize(upstreams_.size());
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    const bool busy = awake_[i] != 0 || average_in_flight_[i] > 0;
    if (busy || busy_[i] != 0) changed_[i] = now;
    busy_[i] = busy ? 1 : 0;
    if (changed_[i] < since) continue;
    const Upstream& upstream = upstreams_[i];
    UpstreamView& view = into.upstreams[i];
    show_traffic(upstream.window ? upstream.seen : UpstreamView{}, view);
    view.in_flight = average_in_flight_[i];
    view.load_resonance = 0;
    if (!busy) continue;
    if (const RouteView* route = busiest_route(upstream, into)) {
      view.load_resonance = load_terms(view, *route).load_resonance();
    }
  }
}

// Learns from the second that has ended, and moves all windows on.
void Fold::advance_to(std::int64_t second) {
  if (second <= second_) return;
  if (second_ >= 0) {
    for (Route& route : routes_) learn(route);
  }
  second_ = second;
  const auto move_on = [this](auto& member) {
    if (!member.window) return;
    member.window->advance(second_);
    if (member.window->empty()) {
      member.window.reset();
    } else {
      read_window(*member.window, elapsed_, member.seen);
    }
  };
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    if (awake_[i] == 0) continue;
    move_on(upstreams_[i]);
    awake_[i] = upstreams_[i].window ? 1 : 0;
  }
  for (Route& route : routes_) move_on(route);
}

void Fold::read_samples() {
  std::uint64_t lost = 0;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    lost += shards_[i]->samples().read(read_to_[i], [this](const Sample& sample) { take(sample); });
  }
  if (lost == 0) return;
  // Whose they were is not known, so all counters are read.
  samples_lost_ += lost;
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    if (count_attempts(i).requests == upstreams_[i].before.requests) continue;
    touch(upstreams_[i], touched_upstreams_, static_cast<std::uint32_t>(i));
  }
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    if (count_requests(i).requests == routes_[i].before.requests) continue;
    touch(routes_[i], touched_routes_, static_cast<std::uint32_t>(i));
  }
}

template <class Member>
void Fold::touch(Member& member, std::vector<std::uint32_t>& touched, std::uint32_t number) {
  if (member.touched || !member.exists) return;
  member.touched = true;
  touched.push_back(number);
  if (!member.window) member.window = std::make_unique<Window>(second_);
}

void Fold::take(const Sample& sample) {
  const auto add = [&sample, this](auto& members, std::vector<std::uint32_t>& touched) {
    if (sample.number >= members.size() || !members[sample.number].exists) return;  // gone meanwhile, or not here yet
    auto& member = members[sample.number];
    touch(member, touched, sample.number);
    if (sample.bucket != Sample::kNoBucket) member.window->add_duration(sample.bucket);
  };
  if (sample.kind == SampleKind::attempt) {
    add(upstreams_, touched_upstreams_);
  } else {
    add(routes_, touched_routes_);
  }
}

// The samples say who had traffic, the counters say how much: they lose nothing.
void Fold::count_touched() {
  const auto count = [this](auto& member, const Counted& counted) {
    member.touched = false;
    member.window->count(static_cast<std::uint32_t>(counted.requests - member.before.requests),
                         static_cast<std::uint32_t>(counted.failures - member.before.failures));
    member.before = counted;
    if (member.window->empty()) {
      member.window.reset();
    } else {
      read_window(*member.window, elapsed_, member.seen);
    }
  };
  for (const std::uint32_t number : touched_upstreams_) {
    count(upstreams_[number], count_attempts(number));
    awake_[number] = upstreams_[number].window ? 1 : 0;
  }
  for (const std::uint32_t number : touched_routes_) count(routes_[number], count_requests(number));
  heard_of_.swap(touched_upstreams_);
  touched_upstreams_.clear();
  touched_routes_.clear();
}

void Fold::average_in_flight(double seconds) {
  constexpr double kMemorySeconds = 1;
  constexpr double kNothing = 0.01;
  const double keep = second_ == 0 && seconds <= 0 ? 0 : std::exp(-seconds / kMemorySeconds);
  for (std::size_t i = 0; i < average_in_flight_.size(); ++i) {
    if (!upstreams_[i].exists) continue;
    const auto now = static_cast<double>(in_flight_.count(i));
    double& average = average_in_flight_[i];
    average = now + keep * (average - now);
    if (now == 0 && average < kNothing) average = 0;
  }
}

void Fold::learn(Route& route) {
  // An upstream that fails more than the others is no measure: its answers may be fast because they are empty.
  constexpr double kWorse = 0.1;
  std::vector<double> errors;
  std::vector<double> waiting;
  double least_errors = 1;
  bool traffic = false;
  for (const std::uint32_t number : route.upstreams) {
    if (awake_[number] == 0) continue;
    const Upstream& upstream = upstreams_[number];
    traffic = traffic || upstream.window->requests_in_slice(0) > 0;
    errors.push_back(upstream.window->error_rate());
    waiting.push_back(average_in_flight_[number]);
    least_errors = std::min(least_errors, upstream.window->error_rate());
  }
  if (!traffic) return;
  std::vector<double> medians;
  for (const std::uint32_t number : route.upstreams) {
    const Upstream& upstream = upstreams_[number];
    if (!upstream.window || upstream.window->durations().count() == 0) continue;
    if (upstream.window->error_rate() <= least_errors + kWorse) medians.push_back(upstream.seen.p50_ms);
  }
  if (!medians.empty()) route.latency_ms.learn(lower_median(std::move(medians)));
  route.in_flight.learn(lower_median(std::move(waiting)));
  route.error_rate.learn(lower_median(std::move(errors)));
}

RouteLearned Fold::save_learned(std::size_t route) const {
  const Route& from = routes_[route];
  return {
      .latency_ms = from.latency_ms.save(), .in_flight = from.in_flight.save(), .error_rate = from.error_rate.save()};
}

void Fold::restore_learned(std::size_t route, const RouteLearned& learned, double weight) {
  Route& into = routes_[route];
  into.latency_ms.restore(learned.latency_ms, weight);
  into.in_flight.restore(learned.in_flight, weight);
  into.error_rate.restore(learned.error_rate, weight);
}

const RouteView* Fold::busiest_route(const Upstream& upstream, const View& view) const {
  const RouteView* busiest = nullptr;
  for (const std::uint32_t route : upstream.routes) {
    if (busiest == nullptr || view.routes[route].requests > busiest->requests) busiest = &view.routes[route];
  }
  return busiest;
}

}  // namespace dao::sense
