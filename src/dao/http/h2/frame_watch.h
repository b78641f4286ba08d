// Counts what a flood of HTTP/2 frames is made of (RFC 9113 section 10.5). It sees the headers of frames only, before
// anything is done for them. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "dao/base/clock.h"
#include "dao/http/h2/flood.h"
#include "dao/http/h2/frame.h"
#include "dao/http/h2/server_limits.h"

namespace dao::http::h2 {

// So many at once, and so many more for each second that passes.
class TokenBucket {
 public:
  TokenBucket(std::uint32_t burst, std::uint32_t per_second)
      : most_(Nanoseconds(std::chrono::seconds(1)).count() * burst), rate_(per_second), left_(most_) {}

  // False when there is none left.
  bool take(Instant now);
  void give() { left_ = left_ + kToken < most_ ? left_ + kToken : most_; }

 private:
  static constexpr std::int64_t kToken = Nanoseconds(std::chrono::seconds(1)).count();
  std::int64_t most_;
  std::int64_t rate_;  // tokens for each second: so many billionths for each nanosecond
  std::int64_t left_;  // in billionths of a token
  Instant refilled_{};
};

class FrameWatch {
 public:
  explicit FrameWatch(const ServerLimits& limits);

  // The client's next frame. A flood ends the connection.
  std::optional<Flood> see(const FrameHeader& frame, Instant now);
  // A frame with so many bytes of data left: the client has reason to send window updates. `whole`: it held all that
  // was there; otherwise it may be small because the client's window is.
  void data_sent(std::size_t bytes, bool whole);
  // A stream was reset: by the client, or by us because of what it sent.
  std::optional<Flood> reset(Instant now);
  // A DATA frame had padding and nothing else.
  std::optional<Flood> padding_only(Instant now);

 private:
  TokenBucket resets_;
  TokenBucket settings_;
  TokenBucket pings_;
  TokenBucket empty_data_;
  TokenBucket priorities_;
  TokenBucket window_updates_;
  TokenBucket unknown_;
  std::size_t data_not_counted_ = 0;  // bytes that were sent and have not earned a window update yet
};

}  // namespace dao::http::h2
