// What a worker has done so far. One thread; a sum is made of copies.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace dao::fault {

struct Stats {
  std::uint64_t connections = 0;
  std::uint64_t connections_open = 0;
  std::uint64_t connections_reset_at_accept = 0;
  std::uint64_t requests = 0;  // without /_stats and /_control
  std::uint64_t requests_malformed = 0;
  std::uint64_t requests_failed = 0;   // by fail_rate
  std::uint64_t requests_aborted = 0;  // the client went away before the answer was complete
  std::uint64_t requests_cut = 0;      // by hang, reset, close, garbage
  std::uint64_t request_body_bytes = 0;
  std::uint64_t response_body_bytes = 0;
  std::uint64_t busy = 0;                  // in service now
  std::uint64_t queued = 0;                // waiting for a slot now
  std::uint64_t queued_max = 0;            // since the start or reset_stats
  std::array<std::uint64_t, 6> answers{};  // by the first digit of the status

  void add(const Stats& other);
  // Counters to 0; what is now stays.
  void reset();
  [[nodiscard]] std::string json(std::string_view name) const;
};

}  // namespace dao::fault
