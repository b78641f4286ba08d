// Watches the frames that a client sends before nghttp2 sees them: counts what a flood is made of, and knows whether a
// header block has begun and not ended, and finds what nghttp2 lets pass. It understands frame headers only (RFC 9113
// section 4.1). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/http/h2/flood.h"
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
  // `header_block_max_bytes`: as sent, all frames of a block together.
  FrameWatch(const ServerLimits& limits, std::size_t header_block_max_bytes);

  // What the client sent next, from the connection preface on. A flood ends the connection.
  std::optional<Flood> see(std::string_view bytes, Instant now);
  // A frame with so many bytes of data left: the client has reason to send window updates. `whole`: it held all that
  // was there; otherwise it may be small because the client's window is.
  void data_sent(std::size_t bytes, bool whole);
  // A stream was reset: by the client, or by us because of what it sent.
  std::optional<Flood> reset(Instant now);

  [[nodiscard]] bool in_preface() const { return preface_left_ > 0; }
  // A header block, or the frame that begins it, is not complete.
  [[nodiscard]] bool in_header_block() const { return in_header_block_; }
  [[nodiscard]] std::uint64_t header_blocks() const { return header_blocks_; }  // begun so far
  // We have reset the stream: what the client still sends there is ignored (RFC 9113 section 5.1).
  void reset_by_us(std::uint32_t id);
  // A DATA frame had padding and nothing else.
  std::optional<Flood> padding_only(Instant now);
  // The client has broken a rule that nghttp2 does not look at; the code of the connection error. Those are: frames
  // above the announced size (RFC 9113 section 4.2), frames on streams that the client itself has ended or passed over
  // (sections 5.1 and 5.1.1), streams that depend on themselves (RFC 7540 section 5.3.1).
  [[nodiscard]] std::optional<std::uint32_t> broken() const { return broken_; }

 private:
  static constexpr std::size_t kPreface = 24;
  static constexpr std::size_t kFrameHeader = 9;
  static constexpr std::size_t kPriorityPayload = 5;

  std::optional<Flood> frame_begins(Instant now);
  void frame_ends();
  void follow_streams();
  void expect_more_on(std::uint32_t id);

  const ServerLimits& limits_;
  std::size_t header_block_max_bytes_;
  std::size_t preface_left_ = kPreface;
  std::array<unsigned char, kFrameHeader> header_{};
  std::size_t header_have_ = 0;
  std::uint32_t payload_left_ = 0;
  std::array<unsigned char, kPriorityPayload> priority_{};
  std::size_t priority_have_ = 0;
  bool in_header_block_ = false;
  bool block_open_ = false;  // a frame of it has begun that is not the last
  std::uint64_t header_blocks_ = 0;
  std::optional<std::uint32_t> broken_;
  std::uint32_t highest_stream_ = 0;
  // Streams where more may come, in order: those that the client has not ended, and those that we reset. Only so many
  // are remembered.
  std::vector<std::uint32_t> sending_;
  std::uint32_t forgotten_ = 0;  // the highest that was dropped from there
  std::uint32_t continuations_ = 0;
  std::size_t header_block_bytes_ = 0;
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
