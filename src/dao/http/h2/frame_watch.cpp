#include "dao/http/h2/frame_watch.h"

#include <algorithm>

namespace dao::http::h2 {

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

FrameWatch::FrameWatch(const ServerLimits& limits)
    : resets_(limits.resets_burst, limits.resets_per_second),
      settings_(limits.control_frames_burst, limits.control_frames_per_second),
      pings_(limits.control_frames_burst, limits.control_frames_per_second),
      empty_data_(limits.control_frames_burst, limits.control_frames_per_second),
      priorities_(limits.control_frames_burst, limits.control_frames_per_second),
      window_updates_(limits.control_frames_burst, limits.control_frames_per_second),
      unknown_(limits.control_frames_burst, limits.control_frames_per_second) {}

std::optional<Flood> FrameWatch::see(const FrameHeader& frame, Instant now) {
  const auto unless = [](bool allowed, Flood flood) { return allowed ? std::nullopt : std::optional{flood}; };
  switch (frame.type) {
    case FrameType::data:
      return unless(frame.length > 0 || frame.has(kEndStream) || empty_data_.take(now), Flood::empty_data);
    case FrameType::headers:
    case FrameType::continuation:
      return std::nullopt;  // Connection bounds them
    case FrameType::priority:
    case FrameType::priority_update:
      return unless(priorities_.take(now), Flood::priority);
    case FrameType::rst_stream:
      return reset(now);
    case FrameType::settings:
      return unless(settings_.take(now), Flood::settings);
    case FrameType::ping:
      return unless(pings_.take(now), Flood::ping);
    case FrameType::window_update:
      return unless(window_updates_.take(now), Flood::window_update);
    default:
      return unless(unknown_.take(now), Flood::unknown_frames);
  }
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
