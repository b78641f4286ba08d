// The command line of dao_load.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sockets.h"

namespace dao::bench {

enum class Mode : std::uint8_t { kClosed, kOpen, kPoisson, kIdle };

struct Options {
  Mode mode = Mode::kClosed;
  sockaddr_in to{};
  std::vector<std::string> targets;  // taken in turn
  std::size_t post_bytes = 0;        // 0: GET
  std::size_t connections = 1;
  double seconds = 2;
  double warmup_seconds = 0.3;
  double rate = 0;  // requests per second, open modes
  std::uint64_t seed = 1;
  double drain_seconds = 2;  // open modes: the last answers may take this long
  std::string timeline;      // file for one line per request
  bool close = false;
  std::vector<int> watched;  // processes whose CPU time is measured over the same window
};

inline constexpr std::string_view kUsage =
    R"(dao_load --to ADDRESS:PORT [--mode closed|open|poisson|idle] [--path TARGET]... [--post BYTES] [--connections N]
         [--seconds S] [--warmup S] [--rate PER_SECOND] [--close] [--watch PID]...
         [--seed N] [--drain S] [--timeline FILE]
  closed  each connection sends its next request when the answer to the last is complete
  open    requests leave at a fixed rate whatever the answers do; latency counts from the intended time
  poisson the same at random times, exponential gaps by --seed, as from very many independent clients
  idle    one request on each connection, prints the result, holds them until end of input, prints how many were lost
Prints one line of JSON. Latencies are in ns. --timeline writes a line for each request of an open mode, in the order of
completion: µs from CLOCK_MONOTONIC's zero to the intended time, latency in µs, status (0: broken, -1: no answer in time).
)";

// Requests leave when they are due, not when an answer has come.
inline bool is_open(Mode mode) {
  return mode == Mode::kOpen || mode == Mode::kPoisson;
}

inline Mode parse_mode(std::string_view text) {
  if (text == "closed") return Mode::kClosed;
  if (text == "open") return Mode::kOpen;
  if (text == "poisson") return Mode::kPoisson;
  if (text == "idle") return Mode::kIdle;
  fail("--mode is closed, open, poisson or idle");
}

inline Options parse_options(int count, char** arguments) {
  Options options;
  bool addressed = false;
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    if (name == "--close") {
      options.close = true;
      continue;
    }
    if (name == "--help" || i + 1 >= count) {
      fmt::print("{}", kUsage);
      std::exit(name == "--help" ? 0 : 2);
    }
    const std::string_view value = arguments[++i];
    if (name == "--to") {
      options.to = parse_address(value);
      addressed = true;
    } else if (name == "--mode") {
      options.mode = parse_mode(value);
    } else if (name == "--path") {
      options.targets.emplace_back(value);
    } else if (name == "--post") {
      options.post_bytes = parse_number<std::size_t>(value);
    } else if (name == "--connections") {
      options.connections = parse_number<std::size_t>(value);
    } else if (name == "--seconds") {
      options.seconds = parse_number<double>(value);
    } else if (name == "--warmup") {
      options.warmup_seconds = parse_number<double>(value);
    } else if (name == "--rate") {
      options.rate = parse_number<double>(value);
    } else if (name == "--seed") {
      options.seed = parse_number<std::uint64_t>(value);
    } else if (name == "--drain") {
      options.drain_seconds = parse_number<double>(value);
    } else if (name == "--timeline") {
      options.timeline = value;
    } else if (name == "--watch") {
      options.watched.push_back(parse_number<int>(value));
    } else {
      fail("unknown option {}", name);
    }
  }
  if (!addressed) fail("--to ADDRESS:PORT is needed");
  if (options.connections == 0) fail("--connections is at least 1");
  if (is_open(options.mode) && options.rate <= 0) fail("an open mode needs --rate");
  if (!is_open(options.mode) && !options.timeline.empty()) fail("--timeline is for the open modes");
  if (options.targets.empty()) options.targets.emplace_back("/small");
  return options;
}

}  // namespace dao::bench
