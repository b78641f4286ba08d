// Any bytes as one direction of a WebSocket: where frames end, and what they were, is the same however the bytes are
// split, and as a plain reader over the whole input says.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dao/http/websocket_frames.h"
#include "oracle.h"

using namespace dao;

namespace {

struct Outcome {
  std::size_t followed = 0;
  std::uint64_t messages = 0;
  std::uint64_t pings = 0;
  bool closed = false;
  bool boundary = true;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// `splits` says how many bytes each call gets.
Outcome follow(std::string_view input, std::string_view splits, bool frame_by_frame) {
  http::WebSocketFrames frames;
  Outcome out;
  std::size_t call = 0;
  while (out.followed < input.size() && !frames.closed()) {
    std::size_t take = input.size() - out.followed;
    if (!splits.empty()) {
      take = std::min<std::size_t>(take, static_cast<unsigned char>(splits[call++ % splits.size()]) % 24U + 1U);
    }
    const std::string_view part = input.substr(out.followed, take);
    const std::size_t step = frame_by_frame ? frames.follow_frame(part) : frames.follow(part);
    fuzz::check(step > 0 && step <= part.size(), "it goes on, within what was given");
    fuzz::check(step == part.size() || frames.at_boundary(), "only the end of a frame stops it");
    out.followed += step;
  }
  out.messages = frames.messages();
  out.pings = frames.pings();
  out.closed = frames.closed();
  out.boundary = frames.at_boundary();
  return out;
}

// RFC 6455 section 5.2 over a whole input.
Outcome plainly(std::string_view input) {
  Outcome out;
  const auto at = [&input](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(input[i])); };
  while (out.followed < input.size() && !out.closed) {
    const std::size_t begin = out.followed;
    const std::size_t have = input.size() - begin;
    out.boundary = false;
    out.followed = input.size();
    if (have < 2) return out;
    const std::uint64_t short_length = at(begin + 1) % 128;
    const std::size_t length_bytes = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    const std::size_t header = 2 + length_bytes + (at(begin + 1) >= 128 ? 4 : 0);
    if (have < header) return out;
    std::uint64_t length = length_bytes == 0 ? short_length : 0;
    for (std::size_t i = 0; i < length_bytes; ++i) length = length * 256 + at(begin + 2 + i);
    if (length >= 1ULL << 63U || have - header < length) return out;
    out.followed = begin + header + static_cast<std::size_t>(length);
    out.boundary = true;
    const std::uint64_t opcode = at(begin) % 16;
    if (opcode == 8) out.closed = true;
    if (opcode == 9) ++out.pings;
    if (opcode < 8 && at(begin) >= 128) ++out.messages;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // The first bytes choose the splits, the rest is the stream.
  const std::string_view all{reinterpret_cast<const char*>(data), size};
  const std::size_t choices =
      std::min<std::size_t>(all.size(), all.empty() ? 0 : static_cast<unsigned char>(all[0]) % 8U + 1U);
  const std::string_view splits = all.substr(0, choices);
  const std::string_view input = all.substr(choices);

  const Outcome plain = plainly(input);
  fuzz::check(follow(input, {}, false) == plain, "in one piece, both readers agree");
  fuzz::check(follow(input, splits, false) == plain, "the split does not change where frames end");
  fuzz::check(follow(input, splits, true) == plain, "frame by frame is the same");
  return 0;
}
