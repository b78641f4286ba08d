// What one HTTP/2 connection of a client may ask for. docs/threat-model.md says which attack each bound ends.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dao::http::h2 {

struct ServerLimits {
  std::uint32_t max_concurrent_streams = 100;
  std::uint32_t stream_window_bytes = 256 * 1024;       // of a request's body that may wait in DAO
  std::uint32_t connection_window_bytes = 1024 * 1024;  // the same for all streams of a connection together
  // What of their bytes WebSockets of a connection may hold before the connection's window waits for them, too.
  std::uint32_t websockets_hold_bytes = 4 * 1024 * 1024;
  // Streams that the client resets, or makes us reset: so many at once, and so many for each second.
  std::uint32_t resets_burst = 200;
  std::uint32_t resets_per_second = 20;
  // Frames that carry nothing, for each kind of its own.
  std::uint32_t control_frames_burst = 1000;
  std::uint32_t control_frames_per_second = 100;
  std::uint32_t continuations_max = 32;  // of one header block
};

}  // namespace dao::http::h2
