// Turning a connection away that there is no room for: an answer that needs no request, or none. One worker's thread.
#pragma once

#include <cstddef>
#include <memory>

#include "dao/net/socket_stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"

namespace dao::gate {

// How many are being told at the same time. What a flood has beyond that is closed without an answer.
class Refusals {
 public:
  bool begin() {
    if (under_way_ == kAtOnce) return false;
    ++under_way_;
    return true;
  }
  void end() { --under_way_; }

 private:
  static constexpr std::size_t kAtOnce = 64;
  std::size_t under_way_ = 0;
};

// Sends a 503 with Retry-After in HTTP/1.1 and lets the client read it, for at most a second; then the connection is
// closed. Not for a stream that speaks TLS.
DAO_FRAME_OF_ITS_OWN rt::Task<> refuse(rt::Loop& loop, std::unique_ptr<net::SocketStream> stream, rt::Cancel& drain);

}  // namespace dao::gate
