#include "dao/http/websocket_frames.h"

#include <algorithm>

namespace dao::http {

namespace {

constexpr unsigned kFin = 0x80;
constexpr unsigned kOpcode = 0x0f;
constexpr unsigned kControl = 0x08;  // opcodes from here on (section 5.5)
constexpr unsigned kClose = 0x08;
constexpr unsigned kPing = 0x09;
constexpr unsigned kMasked = 0x80;
constexpr unsigned kLength = 0x7f;
constexpr unsigned kLength16 = 126;
constexpr unsigned kLength64 = 127;

}  // namespace

std::size_t WebSocketFrames::header_size() const {
  if (have_ < 2) return 2;
  const unsigned length = header_[1] & kLength;
  std::size_t size = 2;
  if (length == kLength16) size += 2;
  if (length == kLength64) size += 8;
  if ((header_[1] & kMasked) != 0) size += 4;
  return size;
}

void WebSocketFrames::header_complete() {
  const unsigned length = header_[1] & kLength;
  left_ = length;
  if (length >= kLength16) {
    left_ = 0;
    const std::size_t end = length == kLength16 ? 4 : 10;
    for (std::size_t i = 2; i < end; ++i) left_ = left_ << 8U | header_[i];
  }
  if (left_ >> 63U != 0) {
    state_ = State::lost;
    return;
  }
  state_ = State::payload;
  if (left_ == 0) frame_complete();
}

void WebSocketFrames::frame_complete() {
  const unsigned opcode = header_[0] & kOpcode;
  if (opcode == kClose) {
    closed_ = true;
  } else if (opcode == kPing) {
    ++pings_;
  } else if (opcode < kControl && (header_[0] & kFin) != 0) {
    ++messages_;
  }
  have_ = 0;
  state_ = State::header;
}

std::size_t WebSocketFrames::follow_frame(std::span<const char> bytes) {
  if (state_ == State::lost) return bytes.size();
  std::size_t at = 0;
  while (state_ == State::header && at < bytes.size()) {
    header_[have_++] = static_cast<unsigned char>(bytes[at++]);
    if (have_ < header_size()) continue;
    header_complete();
    if (state_ == State::header) return at;  // a frame without payload
    if (state_ == State::lost) return bytes.size();
  }
  if (state_ != State::payload) return at;
  const auto step = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - at));
  left_ -= step;
  if (left_ == 0) frame_complete();
  return at + step;
}

std::size_t WebSocketFrames::follow(std::span<const char> bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && !closed_) at += follow_frame(bytes.subspan(at));
  return at;
}

}  // namespace dao::http
