// A scenario: who asks, what answers, what goes wrong and when, and what must come out. Plain values, made from a file
// by scenario_file.h; docs/simulate.md describes the file. Times are counted from the start of the simulation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/simulate/service_time.h"

namespace dao::simulate {

enum class ArrivalKind : std::uint8_t { poisson, constant, bursts, trace };

struct Arrivals {
  ArrivalKind kind = ArrivalKind::poisson;
  std::optional<double> rate;  // requests per second; exactly one of rate and load is given
  std::optional<double> load;  // share of what the backends can serve together, faults that come and go included
  // bursts: `burst_factor` times the rate between bursts, for about `burst_seconds` every `burst_every_seconds`;
  // both exponential. The mean rate is the one above.
  double burst_factor = 1;
  double burst_seconds = 1;
  double burst_every_seconds = 10;
  // trace: counts of requests, one for each step; scaled so that the mean rate is the one above.
  std::string trace_path;  // as given, relative to the scenario's folder
  std::vector<std::uint32_t> trace;
  double trace_step_seconds = 1;
};

struct Backend {
  std::string name;   // unique
  std::string group;  // the name in the file, which may stand for several
  std::uint32_t weight = 1;
  std::uint32_t slots = 8;           // requests it serves at once; the others wait in line
  std::optional<std::size_t> queue;  // how many may wait; more are answered 503 at once; absent: no limit
  ServiceTime service;
};

enum class Effect : std::uint8_t {
  slow,    // service takes `factor` times as long
  fail,    // answers 500 after `after`, with `probability`, without taking a slot
  refuse,  // refuses connections; what is under way when it begins is reset
  hang,    // accepts and never answers, until it ends
  cold,    // service takes `factor` times as long, which falls to 1 until the effect ends
};

// An effect on some backends from one time to another: all that time, or in episodes.
struct Fault {
  Effect effect = Effect::slow;
  std::vector<std::size_t> backends;
  Nanoseconds from{};
  std::optional<Nanoseconds> to;  // absent: it stays
  // Episodes: on for so long, then off for so long; both zero: on without a pause.
  Nanoseconds on{};
  Nanoseconds off{};
  bool random = false;  // the episodes' lengths are exponential with these means, of each backend for itself
  double factor = 1;
  double probability = 1;
  Nanoseconds after{};
};

enum class Relative : std::uint8_t { no, policy, best_of_others };

// What must come out: the figure of the policy is at most (and at least) so much, or so many times that of another.
struct Expectation {
  std::string policy;  // "*": every policy
  std::string figure;
  std::optional<double> at_most;
  std::optional<double> at_least;
  Relative relative = Relative::no;
  std::string relative_to;
  std::uint32_t line = 0;  // in the file
};

struct Scenario {
  std::string name;
  std::string about;
  std::optional<double> seconds;          // how long requests arrive; or
  std::optional<std::uint64_t> requests;  // how many arrive
  Nanoseconds warm_up{};                  // requests that arrive earlier are not in the figures
  std::uint64_t seed = 1;
  std::size_t nodes = 1;                      // DAO processes, each with a mind of its own
  std::size_t workers = 1;                    // of each
  Nanoseconds round_trip{};                   // between DAO and a backend
  Nanoseconds first_byte_timeout{};           // as in DAO's configuration; 0: DAO's default
  std::optional<Nanoseconds> client_timeout;  // the client goes away
  std::optional<std::uint32_t> retries;       // absent: DAO's default
  std::size_t keys = 10'000;                  // different clients, for policies that keep a client's requests together
  Nanoseconds mind_step = std::chrono::milliseconds(100);
  Arrivals arrivals;
  std::vector<Backend> backends;
  std::vector<Fault> faults;
  std::vector<std::string> policies;  // to compare; empty: all that there are
  std::vector<Expectation> expectations;

  // Requests per second that the backends serve together when all slots are busy, faults that come and go included.
  [[nodiscard]] double capacity() const;
  [[nodiscard]] double mean_rate() const;
  // Backends that a fault without episodes befalls, and when the first of these begins and the last one ends.
  struct Sickness {
    std::vector<bool> backends;
    Nanoseconds from{};
    std::optional<Nanoseconds> to;
  };
  [[nodiscard]] std::optional<Sickness> sickness() const;
};

}  // namespace dao::simulate
