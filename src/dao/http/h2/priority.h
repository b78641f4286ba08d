// How urgent a response is to its client (RFC 9218): the field `Priority` and the frame PRIORITY_UPDATE.
#pragma once

#include <cstdint>
#include <string_view>

namespace dao::http::h2 {

struct Priority {
  static constexpr std::uint8_t kLevels = 8;
  std::uint8_t urgency = 3;  // 0 is the most urgent
  // Pieces of it are of use: it shares with others of its urgency. Otherwise these wait until it is complete.
  bool incremental = false;

  friend bool operator==(const Priority&, const Priority&) = default;
};

// Reads the dictionary of RFC 9218 section 4. What is missing, unknown or malformed stands as in `fallback`: a priority
// is a wish, not a reason for an error (section 4).
Priority read_priority(std::string_view text, Priority fallback);

}  // namespace dao::http::h2
