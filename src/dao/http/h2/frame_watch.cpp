#include "dao/http/h2/frame_watch.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

namespace dao::http::h2 {

namespace {
constexpr std::uint32_t kStreamIdBits = 0x7fffffffU;
constexpr std::uint32_t kFrameMax = 16384;  // SETTINGS_MAX_FRAME_SIZE, as it is when nothing is announced
constexpr std::size_t kStreamsRemembered = 1000;

std::uint32_t read_u32(const unsigned char* at) {
  return std::uint32_t{at[0]} << 24U | std::uint32_t{at[1]} << 16U | std::uint32_t{at[2]} << 8U | std::uint32_t{at[3]};
}
}  // namespace

bool TokenBucket::take(Instant now) {
  if (left_ < most_ && refilled_ != Instant{}) {
    const std::int64_t passed = (now - refilled_).count();
    const std::int64_t missing = most_ - left_;
    left_ = rate_ > 0 && passed > missing / rate_ ? most_ : left_ + passed * rate_;
  }
  refilled_ = now;
  if (left_ < kToken) return false;
  left_ -= kToken;
  return true;
}

FrameWatch::FrameWatch(const ServerLimits& limits, std::size_t header_block_max_bytes)
    : limits_(limits),
      header_block_max_bytes_(header_block_max_bytes),
      resets_(limits.resets_burst, limits.resets_per_second),
      settings_(limits.control_frames_burst, limits.control_frames_per_second),
      pings_(limits.control_frames_burst, limits.control_frames_per_second),
      empty_data_(limits.control_frames_burst, limits.control_frames_per_second),
      priorities_(limits.control_frames_burst, limits.control_frames_per_second),
      window_updates_(limits.control_frames_burst, limits.control_frames_per_second),
      unknown_(limits.control_frames_burst, limits.control_frames_per_second) {}

std::optional<Flood> FrameWatch::see(std::string_view bytes, Instant now) {
  const std::size_t of_preface = std::min(preface_left_, bytes.size());
  preface_left_ -= of_preface;
  bytes.remove_prefix(of_preface);
  while (!bytes.empty()) {
    if (header_have_ < kFrameHeader) {
      const std::size_t take = std::min(kFrameHeader - header_have_, bytes.size());
      std::copy_n(bytes.begin(), take, header_.begin() + static_cast<std::ptrdiff_t>(header_have_));
      header_have_ += take;
      bytes.remove_prefix(take);
      if (header_have_ < kFrameHeader) {
        // The first frame of a block is waited for no longer than the rest of it.
        if (header_have_ >= 4 && header_[3] == NGHTTP2_HEADERS) in_header_block_ = true;
        break;
      }
      payload_left_ = read_u32(header_.data()) >> 8U;
      priority_have_ = 0;
      if (const std::optional<Flood> flood = frame_begins(now)) return flood;
    }
    const std::size_t take = std::min<std::size_t>(payload_left_, bytes.size());
    if (header_[3] == NGHTTP2_PRIORITY && priority_have_ < kPriorityPayload) {
      const std::size_t copy = std::min(kPriorityPayload - priority_have_, take);
      std::copy_n(bytes.begin(), copy, priority_.begin() + static_cast<std::ptrdiff_t>(priority_have_));
      priority_have_ += copy;
    }
    payload_left_ -= static_cast<std::uint32_t>(take);
    bytes.remove_prefix(take);
    if (payload_left_ == 0) frame_ends();
  }
  return std::nullopt;
}

std::optional<Flood> FrameWatch::frame_begins(Instant now) {
  if (payload_left_ > kFrameMax && !broken_) broken_ = NGHTTP2_FRAME_SIZE_ERROR;
  const std::uint8_t flags = header_[4];
  if (!block_open_) follow_streams();  // nghttp2 refuses what comes between the frames of a block
  if (header_[3] == NGHTTP2_HEADERS || header_[3] == NGHTTP2_CONTINUATION) {
    block_open_ = (flags & NGHTTP2_FLAG_END_HEADERS) == 0;
  }
  const auto unless = [](bool allowed, Flood flood) { return allowed ? std::nullopt : std::optional{flood}; };
  switch (header_[3]) {
    case NGHTTP2_DATA:
      return unless(payload_left_ > 0 || (flags & NGHTTP2_FLAG_END_STREAM) != 0 || empty_data_.take(now),
                    Flood::empty_data);
    case NGHTTP2_HEADERS:
      in_header_block_ = true;
      ++header_blocks_;
      continuations_ = 0;
      header_block_bytes_ = payload_left_;
      return unless(header_block_bytes_ <= header_block_max_bytes_, Flood::header_bytes);
    case NGHTTP2_CONTINUATION:
      header_block_bytes_ += payload_left_;
      if (++continuations_ > limits_.continuations_max) return Flood::continuations;
      return unless(header_block_bytes_ <= header_block_max_bytes_, Flood::header_bytes);
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
      return unless(priorities_.take(now), Flood::priority);
    case NGHTTP2_RST_STREAM:
      return reset(now);
    case NGHTTP2_SETTINGS:
      return unless(settings_.take(now), Flood::settings);
    case NGHTTP2_PING:
      return unless(pings_.take(now), Flood::ping);
    case NGHTTP2_WINDOW_UPDATE:
      return unless(window_updates_.take(now), Flood::window_update);
    default:
      return unless(unknown_.take(now), Flood::unknown_frames);
  }
}

void FrameWatch::frame_ends() {
  header_have_ = 0;
  const std::uint8_t type = header_[3];
  if ((type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION) && (header_[4] & NGHTTP2_FLAG_END_HEADERS) != 0) {
    in_header_block_ = false;
  }
  if (type == NGHTTP2_PRIORITY && priority_have_ == kPriorityPayload &&
      (read_u32(priority_.data()) & kStreamIdBits) == (read_u32(header_.data() + 5) & kStreamIdBits)) {
    broken_ = NGHTTP2_PROTOCOL_ERROR;
  }
}

void FrameWatch::follow_streams() {
  const std::uint8_t type = header_[3];
  if (type != NGHTTP2_DATA && type != NGHTTP2_HEADERS && type != NGHTTP2_RST_STREAM) return;
  const std::uint32_t id = read_u32(header_.data() + 5) & kStreamIdBits;
  const bool ends = type == NGHTTP2_RST_STREAM || (header_[4] & NGHTTP2_FLAG_END_STREAM) != 0;
  if (id % 2 == 0) return;  // nghttp2 refuses it
  if (id > highest_stream_) {
    if (type != NGHTTP2_HEADERS) return;
    highest_stream_ = id;
    if (!ends) expect_more_on(id);
    return;
  }
  const auto known = std::ranges::lower_bound(sending_, id);
  if (known != sending_.end() && *known == id) {
    if (ends) sending_.erase(known);
  } else if (type != NGHTTP2_RST_STREAM && id > forgotten_ && !broken_) {
    broken_ = NGHTTP2_STREAM_CLOSED;
  }
}

void FrameWatch::expect_more_on(std::uint32_t id) {
  if (sending_.size() == kStreamsRemembered) {
    forgotten_ = std::max(forgotten_, sending_.front());
    sending_.erase(sending_.begin());
  }
  const auto place = std::ranges::lower_bound(sending_, id);
  if (place == sending_.end() || *place != id) sending_.insert(place, id);
}

void FrameWatch::reset_by_us(std::uint32_t id) {
  if (id <= highest_stream_) expect_more_on(id);
}

std::optional<Flood> FrameWatch::padding_only(Instant now) {
  if (empty_data_.take(now)) return std::nullopt;
  return Flood::empty_data;
}

void FrameWatch::data_sent(std::size_t bytes, bool whole) {
  // A client that gives windows back frame by frame gets ever smaller frames where our pieces and its windows end, and
  // sends as many updates: it is judged by the bytes. One that opens its window byte by byte earns next to nothing.
  constexpr std::size_t kEarnsUpdates = 256;
  data_not_counted_ += bytes;
  std::size_t earned = data_not_counted_ / kEarnsUpdates;
  data_not_counted_ %= kEarnsUpdates;
  if (whole) earned = std::max<std::size_t>(earned, 1);
  for (; earned > 0; --earned) {  // at most kFrameMax / kEarnsUpdates
    window_updates_.give();       // for the stream
    window_updates_.give();       // for the connection
  }
}

std::optional<Flood> FrameWatch::reset(Instant now) {
  if (resets_.take(now)) return std::nullopt;
  return Flood::resets;
}

}  // namespace dao::http::h2
