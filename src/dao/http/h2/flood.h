// The ways in which an HTTP/2 client can keep a server busy with nothing. Each ends its connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dao::http::h2 {

enum class Flood : std::uint8_t {
  resets,         // rapid reset (CVE-2023-44487), and resets that we are made to send (CVE-2025-8671)
  continuations,  // a header block in too many frames (CVE-2024-27316)
  header_bytes,   // a header block that is, or decodes to, far more than is allowed
  settings,
  ping,
  empty_data,
  priority,
  window_update,
  unknown_frames,
  queued_answers,  // acknowledgements that the client does not read
};
inline constexpr std::size_t kFloods = static_cast<std::size_t>(Flood::queued_answers) + 1;

// As used in logs and metrics.
constexpr std::string_view name_of(Flood flood) {
  switch (flood) {
    case Flood::resets:
      return "resets";
    case Flood::continuations:
      return "continuations";
    case Flood::header_bytes:
      return "header_bytes";
    case Flood::settings:
      return "settings";
    case Flood::ping:
      return "ping";
    case Flood::empty_data:
      return "empty_data";
    case Flood::priority:
      return "priority";
    case Flood::window_update:
      return "window_update";
    case Flood::unknown_frames:
      return "unknown_frames";
    case Flood::queued_answers:
      return "queued_answers";
  }
  return "unknown";
}

}  // namespace dao::http::h2
