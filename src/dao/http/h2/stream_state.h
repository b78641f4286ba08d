// What HTTP/2 knows of a stream from its first frame to its end (RFC 9113 section 5). Made and kept by Connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "dao/http/h2/priority.h"
#include "dao/rt/frame_pool.h"

namespace dao::http::h2 {

struct StreamState {
  static void* operator new(std::size_t size) { return rt::FramePool::allocate(size); }
  static void operator delete(void* stream, std::size_t size) noexcept { rt::FramePool::release(stream, size); }

  std::uint32_t id = 0;
  void* user = nullptr;  // whose exchange this is; null when nobody cares any more

  std::int64_t send_window = 0;     // below zero when SETTINGS took from it
  std::int64_t receive_window = 0;  // what the peer may still send
  std::int64_t consumed = 0;        // of what it sent, and not given back yet

  bool local_ended = false;
  bool remote_ended = false;
  bool head_came = false;  // the peer's, an interim one does not count
  bool no_body = false;    // what comes has no content, whatever its head says: an answer to HEAD, 204, 304
  std::optional<std::uint64_t> length;  // what the peer's head said
  std::uint64_t received = 0;           // bytes of content

  bool has_body = false;  // it may have DATA to send
  Priority priority;
  bool priority_known = false;  // by a PRIORITY_UPDATE, which counts more than a field (RFC 9218 section 7)
  bool ready = false;           // in the list of those that may have some now
  StreamState* next_ready = nullptr;
  StreamState* previous_ready = nullptr;
};

}  // namespace dao::http::h2
