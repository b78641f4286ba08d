// The words of HTTP/2 frames (RFC 9113 sections 4, 6 and 7; RFC 8441; RFC 9218).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dao/http/byte_words.h"

namespace dao::http::h2 {

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";  // what a client says first
inline constexpr std::size_t kFrameHeaderBytes = 9;
inline constexpr std::uint32_t kFrameMax = 16384;  // SETTINGS_MAX_FRAME_SIZE, as it is when nothing is announced
inline constexpr std::int64_t kInitialWindow = 65535;
inline constexpr std::int64_t kWindowMax = 0x7fffffff;
inline constexpr std::uint32_t kStreamIdMax = 0x7fffffff;

enum class FrameType : std::uint8_t {
  data = 0,
  headers = 1,
  priority = 2,
  rst_stream = 3,
  settings = 4,
  push_promise = 5,
  ping = 6,
  goaway = 7,
  window_update = 8,
  continuation = 9,
  priority_update = 16,
};

inline constexpr std::uint8_t kEndStream = 0x01;  // DATA, HEADERS
inline constexpr std::uint8_t kAck = 0x01;        // SETTINGS, PING
inline constexpr std::uint8_t kEndHeaders = 0x04;
inline constexpr std::uint8_t kPadded = 0x08;
inline constexpr std::uint8_t kHasPriority = 0x20;

enum class Setting : std::uint16_t {
  header_table_size = 1,
  enable_push = 2,
  max_concurrent_streams = 3,
  initial_window_size = 4,
  max_frame_size = 5,
  max_header_list_size = 6,
  enable_connect_protocol = 8,  // RFC 8441 section 3
  no_rfc7540_priorities = 9,    // RFC 9218 section 2.1
};

inline constexpr std::size_t kSettingBytes = 6;
struct SettingValue {
  Setting setting;
  std::uint32_t value;
};

enum class ErrorCode : std::uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  flow_control_error = 3,
  settings_timeout = 4,
  stream_closed = 5,
  frame_size_error = 6,
  refused_stream = 7,
  cancel = 8,
  compression_error = 9,
  connect_error = 10,
  enhance_your_calm = 11,
  inadequate_security = 12,
  http_1_1_required = 13,
};

struct FrameHeader {
  std::uint32_t length = 0;  // of the payload
  FrameType type = FrameType::data;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;  // 0: the connection

  [[nodiscard]] bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

// `at`: kFrameHeaderBytes of it.
inline FrameHeader read_frame_header(const char* at) {
  return {.length = load_big_32(at) >> 8U,
          .type = static_cast<FrameType>(at[3]),
          .flags = static_cast<std::uint8_t>(at[4]),
          .stream = load_big_32(at + 5) & kStreamIdMax};
}

inline char* write_frame_header(char* at, const FrameHeader& header) {
  store_big_32(at, header.length << 8U | static_cast<std::uint32_t>(header.type));
  at[4] = static_cast<char>(header.flags);
  store_big_32(at + 5, header.stream);
  return at + kFrameHeaderBytes;
}

}  // namespace dao::http::h2
