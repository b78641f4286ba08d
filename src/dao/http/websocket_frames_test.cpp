#include "dao/http/websocket_frames.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace dao::http {
namespace {

enum Opcode : unsigned { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// A frame as RFC 6455 section 5.2 draws it, with the shortest length that fits, or a longer one.
std::string frame(unsigned opcode, std::size_t size, bool fin = true, bool masked = false,
                  std::size_t length_bytes = 0) {
  std::string text;
  text += static_cast<char>((fin ? 0x80U : 0U) | opcode);
  if (length_bytes == 0) length_bytes = size < 126 ? 1 : size < 65536 ? 2 : 8;
  const std::size_t first = length_bytes == 1 ? size : length_bytes == 2 ? 126 : 127;
  text += static_cast<char>((masked ? 0x80U : 0U) | first);
  for (std::size_t i = length_bytes; length_bytes > 1 && i > 0; --i) text += static_cast<char>(size >> 8U * (i - 1));
  if (masked) text.append("\x88\x89\x81\x00", 4);  // looks like headers, on purpose
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(0x80U + i % 16);
  return text;
}

struct Seen {
  std::uint64_t messages = 0;
  std::uint64_t pings = 0;
  std::size_t followed = 0;
  bool closed = false;
  bool boundary = false;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen follow_in_parts(std::string_view bytes, std::size_t part) {
  WebSocketFrames frames;
  Seen seen;
  while (seen.followed < bytes.size() && !frames.closed()) {
    seen.followed += frames.follow(bytes.substr(seen.followed, part));
  }
  seen.messages = frames.messages();
  seen.pings = frames.pings();
  seen.closed = frames.closed();
  seen.boundary = frames.at_boundary();
  return seen;
}

void expect_in_any_split(std::string_view bytes, const Seen& expected) {
  for (std::size_t part = 1; part <= bytes.size(); part = part < 64 ? part + 1 : part * 2) {
    EXPECT_EQ(follow_in_parts(bytes, part), expected) << "in parts of " << part;
  }
  EXPECT_EQ(follow_in_parts(bytes, bytes.size()), expected);
}

TEST(WebSocketFramesTest, BeginsAtABoundary) {
  const WebSocketFrames frames;
  EXPECT_TRUE(frames.at_boundary());
  EXPECT_FALSE(frames.closed());
  EXPECT_EQ(frames.messages(), 0U);
}

TEST(WebSocketFramesTest, CountsMessagesOfEveryLengthFormInAnySplit) {
  for (const bool masked : {false, true}) {
    std::string bytes;
    for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65535U, 65536U, 70000U}) {
      bytes += frame(size % 2 == 0 ? kText : kBinary, size, true, masked);
    }
    bytes += frame(kBinary, 3, true, masked, 2) + frame(kBinary, 3, true, masked, 8);
    expect_in_any_split(bytes, {.messages = 10, .followed = bytes.size(), .boundary = true});
  }
}

TEST(WebSocketFramesTest, FragmentsAreOneMessageAndControlFramesMayStandBetweenThem) {
  const std::string bytes = frame(kText, 5, false) + frame(kPing, 2) + frame(kContinuation, 0, false) +
                            frame(kPong, 0) + frame(kContinuation, 4);
  expect_in_any_split(bytes, {.messages = 1, .pings = 1, .followed = bytes.size(), .boundary = true});
}

TEST(WebSocketFramesTest, StopsBehindAClose) {
  const std::string head = frame(kText, 3) + frame(kClose, 2, true, true);
  const std::string bytes = head + frame(kText, 3);
  expect_in_any_split(bytes, {.messages = 1, .followed = head.size(), .closed = true, .boundary = true});
}

TEST(WebSocketFramesTest, ACloseCountsWhenItIsWhole) {
  const std::string close = frame(kClose, 20);
  WebSocketFrames frames;
  EXPECT_EQ(frames.follow(std::string_view{close}.substr(0, close.size() - 1)), close.size() - 1);
  EXPECT_FALSE(frames.closed());
  EXPECT_FALSE(frames.at_boundary());
  EXPECT_EQ(frames.follow(std::string_view{close}.substr(close.size() - 1)), 1U);
  EXPECT_TRUE(frames.closed());
}

TEST(WebSocketFramesTest, OneFrameAtATime) {
  const std::string first = frame(kText, 300);
  const std::string second = frame(kPing, 0);
  const std::string bytes = first + second;
  WebSocketFrames frames;
  EXPECT_EQ(frames.follow_frame(bytes), first.size());
  EXPECT_TRUE(frames.at_boundary());
  EXPECT_EQ(frames.follow_frame(std::string_view{bytes}.substr(first.size())), second.size());
  EXPECT_EQ(frames.follow_frame({}), 0U);
  EXPECT_TRUE(frames.at_boundary());
  EXPECT_EQ(frames.pings(), 1U);
}

TEST(WebSocketFramesTest, EveryByteOfAFrameButTheLastIsWithinIt) {
  const std::string bytes = frame(kBinary, 200, true, true);
  WebSocketFrames frames;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    frames.follow(std::string_view{bytes}.substr(i, 1));
    EXPECT_EQ(frames.at_boundary(), i + 1 == bytes.size()) << i;
  }
}

TEST(WebSocketFramesTest, ALengthBeyondTheRfcEndsTheFollowing) {
  std::string bytes = "\x82\x7f\x80";
  bytes.append(7, '\0');
  bytes += frame(kClose, 2);
  expect_in_any_split(bytes, {.followed = bytes.size()});
}

TEST(WebSocketFramesTest, TheLargestLengthIsFollowed) {
  const std::string header = "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
  WebSocketFrames frames;
  EXPECT_EQ(frames.follow(header), header.size());
  const std::string block(100'000, '\x88');
  EXPECT_EQ(frames.follow(block), block.size());
  EXPECT_FALSE(frames.at_boundary());
  EXPECT_FALSE(frames.closed());
}

}  // namespace
}  // namespace dao::http
