// What the tests of transitions are tried in: clients, two sides and the upstreams behind both, in virtual time. All
// comes from one seed.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numbers>
#include <vector>

#include "dao/base/random.h"
#include "dao/liminal/transition.h"
#include "dao/sense/log_histogram.h"

namespace dao::liminal {

enum class ServiceTime : std::uint8_t { lognormal, exponential };

struct Traffic {
  double rps = 500;
  Nanoseconds over = std::chrono::minutes(5);
  std::size_t clients = 2000;
  double skew = 0;                  // of the clients' shares: that of client k is proportional to 1 / k^skew
  double first_client = 0;          // the share of one client more, 0..1
  bool first_client_fails = false;  // all it asks for
  ServiceTime service = ServiceTime::lognormal;
  double spread = 0.8;           // of the logarithm of a lognormal service time
  double client_spread = 0.3;    // the same, of what one client usually asks for
  bool client_failures = false;  // half of what a client asks for fails for half a minute at a time
  bool client_phases = false;    // what a client asks for takes 5 times as long for half a minute at a time
  bool bursts = false;           // of everybody: three times the rate for some seconds, then a third
  double at_once = 1;            // a client's requests come in groups of so many, within a few milliseconds
  bool slow_phases = false;      // half of the requests, of both sides, take 5 times as long for some seconds at a time
  double errors = 0.001;         // share of requests that fail on both sides
  bool outages = false;          // four in ten fail, on both sides, for a second now and then

  // What the new side adds.
  double added_errors = 0;
  double latency_factor = 1;
  double slow_share = 0;  // so many of its requests take 5 times as long
};

struct Outcome {
  TransitionFigures figures;
  std::uint64_t requests = 0;
  [[nodiscard]] bool found(double before) const { return figures.worse && figures.progress_at_verdict < before; }
};

// On for `on` and off for `off`, on the average, exponentially.
class Phase {
 public:
  Phase(double on_seconds, double off_seconds) : on_(on_seconds), off_(off_seconds) {}
  bool step(double seconds, Random& random) {
    if (random.unit() < seconds / (is_on_ ? on_ : off_)) is_on_ = !is_on_;
    return is_on_;
  }
  [[nodiscard]] bool on() const { return is_on_; }

 private:
  double on_;
  double off_;
  bool is_on_ = false;
};

// Quantiles of a distribution, to draw from at the cost of a look.
class Quantiles {
 public:
  static constexpr unsigned kBits = 10;
  static constexpr std::size_t kCount = std::size_t{1} << kBits;
  explicit Quantiles(const std::function<double(double)>& inverse) : values_(kCount) {
    for (std::size_t i = 0; i < kCount; ++i) {
      values_[i] = inverse((static_cast<double>(i) + 0.5) / static_cast<double>(kCount));
    }
  }
  [[nodiscard]] double draw(Random& random) const { return values_[random.next() >> (64U - kBits)]; }

 private:
  std::vector<double> values_;
};

inline double exponential_quantile(double share) {
  return -std::log(1 - share);
}
// Of the standard normal distribution, by bisection.
inline double normal_quantile(double share) {
  double low = -6;
  double high = 6;
  for (int step = 0; step < 50; ++step) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::numbers::sqrt2) / 2 < share ? low : high) = middle;
  }
  return low;
}
inline const Quantiles& exponential() {
  static const Quantiles quantiles(exponential_quantile);
  return quantiles;
}
inline const Quantiles& normal() {
  static const Quantiles quantiles(normal_quantile);
  return quantiles;
}

class TransitionWorld {
 public:
  TransitionWorld(const Traffic& traffic, const config::Metamorphic& settings, std::uint64_t seed)
      : traffic_(traffic),
        random_(seed),
        transition_(settings, traffic.over, random_.next(), now_, "a test"),
        milliseconds_([&traffic](double share) {
          if (traffic.service == ServiceTime::exponential) return 20 * exponential_quantile(share);
          return 20 * std::exp(traffic.spread * normal_quantile(share));
        }) {
    make_clients();
  }

  // Until it is over, or the share of clients is larger than `until`.
  Outcome run(double until = 1) {
    while (!is_over(transition_.state()) && transition_.view().progress <= until) {
      one_step();
    }
    return {.figures = transition_.figures(now_), .requests = requests_};
  }
  Transition& transition() { return transition_; }
  [[nodiscard]] Instant now() const { return now_; }

  void one_step() {
    constexpr double kSeconds = 0.1;
    now_ += std::chrono::milliseconds(100);
    bursting_.step(kSeconds, random_);
    slow_.step(kSeconds, random_);
    outage_.step(kSeconds, random_);
    double rate = traffic_.rps / traffic_.at_once;
    if (traffic_.bursts) rate *= bursting_.on() ? 3 : 1.0 / 3;
    const TransitionView view = transition_.view();
    for (until_next_ -= kSeconds; until_next_ < 0; until_next_ += exponential().draw(random_) / rate) {
      const std::size_t client = draw_client();
      int count = 1;
      if (traffic_.at_once > 1) {
        while (random_.unit() > 1 / traffic_.at_once) ++count;
      }
      for (int i = 0; i < count; ++i) request(client, view);
    }
    transition_.step(now_);
  }

 private:
  struct Client {
    ClientPoint point = 0;
    double factor = 1;
    Phase heavy{30, 120};
    double seen = 0;  // when its phase was looked at
  };

  void make_clients() {
    const std::uint64_t seed = transition_.view().seed;
    const std::size_t count = traffic_.clients + (traffic_.first_client > 0 ? 1 : 0);
    std::vector<double> shares(count);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint8_t address[4];
      const auto number = static_cast<std::uint32_t>(i);
      std::memcpy(address, &number, sizeof address);
      const double factor = std::exp(traffic_.client_spread * normal().draw(random_));
      clients_.push_back({.point = point_of_address(address, 64, seed), .factor = factor});
      if (i < traffic_.clients) sum += shares[i] = std::pow(static_cast<double>(i + 1), -traffic_.skew);
    }
    if (traffic_.first_client > 0) {
      special_ = traffic_.clients;
      shares[special_] = sum * traffic_.first_client / (1 - traffic_.first_client);
      sum += shares[special_];
    }
    draws_.reserve(kDraws);
    double edge = 0;
    for (std::size_t i = 0; i < count; ++i) {
      edge += shares[i] / sum * kDraws;
      while (static_cast<double>(draws_.size()) < edge && draws_.size() < kDraws) {
        draws_.push_back(static_cast<std::uint32_t>(i));
      }
    }
    while (draws_.size() < kDraws) draws_.push_back(static_cast<std::uint32_t>(count - 1));
  }

  std::size_t draw_client() { return draws_[random_.next() >> (64U - kDrawBits)]; }

  void request(std::size_t number, const TransitionView& view) {
    ++requests_;
    Client& client = clients_[number];
    const Side side = side_of(client.point, view.threshold);
    double failing = traffic_.outages && outage_.on() ? 0.4 : traffic_.errors;
    if (number == special_ && traffic_.first_client_fails) failing = 1;
    double milliseconds = client.factor * milliseconds_.draw(random_);
    if (traffic_.slow_phases && slow_.on() && (random_.next() >> 63U) != 0) milliseconds *= 5;
    if (traffic_.client_phases || traffic_.client_failures) {
      const double seconds = std::chrono::duration<double>(now_.time_since_epoch()).count();
      if (client.heavy.step(std::min(seconds - client.seen, 30.0), random_)) {
        if (traffic_.client_phases) milliseconds *= 5;
        if (traffic_.client_failures) failing = std::max(failing, 0.5);
      }
      client.seen = seconds;
    }
    bool failed = random_.unit() < failing;
    if (side == Side::new_config) {
      failed = failed || random_.unit() < traffic_.added_errors;
      milliseconds *= traffic_.latency_factor;
      if (traffic_.slow_share > 0 && random_.unit() < traffic_.slow_share) milliseconds *= 5;
    }
    transition_.add({.side = side,
                     .cell = cell_of(client.point),
                     .failed = failed,
                     .bucket = sense::log_bucket_of(static_cast<std::uint64_t>(milliseconds * 1e6))});
  }

  static constexpr unsigned kDrawBits = 14;
  static constexpr std::size_t kDraws = std::size_t{1} << kDrawBits;

  const Traffic traffic_;
  Random random_;
  Instant now_{};
  Transition transition_;
  const Quantiles milliseconds_;  // of the service
  std::vector<Client> clients_;
  std::size_t special_ = ~std::size_t{0};
  std::vector<std::uint32_t> draws_;
  double until_next_ = 0;
  Phase bursting_{3, 9};
  Phase slow_{5, 15};
  Phase outage_{1, 20};
  std::uint64_t requests_ = 0;
};

}  // namespace dao::liminal
