// What the server does with one request: its defaults overlaid with the request's query parameters. A value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace dao::fault {

// Where in the life of an answer a fault strikes.
enum class Stage : std::uint8_t {
  none,
  accept,    // when the connection is accepted
  head,      // the request was read, nothing is answered
  mid_head,  // half of the answer's head was sent
  body,      // the head and half of the body were sent
};

struct Behaviour {
  static constexpr std::size_t kInterimMax = 16;

  unsigned status = 200;
  double delay_ms = 0;
  double delay_exp_ms = 0;   // mean of an exponential delay, added to delay_ms
  double delay_factor = 1;   // of both delays
  double cold_start_ms = 0;  // both delays are longer for so long after the start, see cold_factor()
  double cold_start_factor = 10;
  std::optional<std::uint64_t> size;  // of the body; nothing: a short text
  std::uint32_t chunk = 16384;
  double trickle_ms = 0;
  Stage hang = Stage::none;
  Stage reset = Stage::none;
  Stage close = Stage::none;
  std::array<std::uint16_t, kInterimMax> interim{};
  std::size_t interim_count = 0;
  std::uint64_t interim_flood = 0;
  std::uint64_t header_flood_bytes = 0;
  double fail_rate = 0;
  unsigned fail_status = 500;
  bool fail_at_once = false;
  bool chunked = false;
  bool garbage = false;
  bool early = false;
  bool no_length = false;
  bool trailers = false;
  bool keep_alive = true;
  bool echo = false;
  bool inspect = false;
  bool notice_close = false;

  // How much longer delays are this long after the start: cold_start_factor at first, then evenly down to 1.
  [[nodiscard]] double cold_factor(double ms_since_start) const {
    if (ms_since_start >= cold_start_ms) return 1;
    return cold_start_factor + (1 - cold_start_factor) * ms_since_start / cold_start_ms;
  }
  [[nodiscard]] bool strikes_at(Stage stage) const { return hang == stage || reset == stage || close == stage; }
};

// Calls `visit(key, value)` for each parameter of "a=1&b=2" until it gives an error. A key alone has the value "1".
// No percent-decoding: no parameter needs it.
template <class Visit>
std::expected<void, std::string> for_each_parameter(std::string_view query, Visit visit) {
  while (!query.empty()) {
    const std::string_view parameter = query.substr(0, query.find('&'));
    query.remove_prefix(parameter.size() < query.size() ? parameter.size() + 1 : query.size());
    if (parameter.empty()) continue;
    const std::size_t equals = parameter.find('=');
    const std::string_view key = parameter.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? "1" : parameter.substr(equals + 1);
    if (std::expected<void, std::string> visited = visit(key, value); !visited) return visited;
  }
  return {};
}

// The error says what is wrong; parameter_help() what is right.
std::expected<void, std::string> set_parameter(Behaviour& behaviour, std::string_view key, std::string_view value);
std::expected<void, std::string> apply_query(Behaviour& behaviour, std::string_view query);

// One line for each parameter.
std::string parameter_help();

}  // namespace dao::fault
