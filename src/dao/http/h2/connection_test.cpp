// Two ends of one HTTP/2 connection talk to each other without a network; what one of them would not say is written by
// hand. Messages and hostile frames are the matter of section_rules_test.cpp and of the sessions' tests.
#include "dao/http/h2/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace dao::http::h2 {
namespace {

using testing::ElementsAre;

// One end: keeps what it hears, sends what it is given.
class End final : public ConnectionEvents {
 public:
  struct Heard {
    std::string fields;  // "name=value;" of all sections, each ended by '|'
    std::string content;
    bool ended = false;
    std::optional<ErrorCode> closed;
    bool by_peer = false;
    bool local_end = false;
  };

  End(Connection::Role role, const Connection::Bounds& bounds, std::vector<SettingValue> settings = {})
      : output(pool), connection(role, output, *this, bounds, settings) {}

  // What it has to say.
  std::string said() {
    std::string bytes(output.content().data(), output.size());
    output.clear();
    connection.output_taken();
    return bytes;
  }

  std::optional<ErrorCode> on_frame(const FrameHeader& header) override {
    frames.push_back(header);
    return std::nullopt;
  }
  void on_section(StreamState& stream) override { ++sections[stream.id]; }
  bool on_field(StreamState& stream, const HpackField& field, FieldId) override {
    if (field.never_indexed) secrets.emplace_back(field.name);
    heard[stream.id].fields.append(field.name).append("=").append(field.value).append(";");
    return true;
  }
  void on_section_end(StreamState& stream, SectionKind kind, bool ends_stream) override {
    stream.user = this;
    heard[stream.id].fields += '|';
    heard[stream.id].ended = ends_stream;
    kinds.push_back(kind);
    if (on_request) on_request(stream);
  }
  void on_data(StreamState& stream, std::span<const char> bytes) override {
    heard[stream.id].content.append(bytes.data(), bytes.size());
    if (gives_back) connection.consume(stream.id, bytes.size());
  }
  void on_remote_end(StreamState& stream) override { heard[stream.id].ended = true; }
  void on_close(StreamState& stream, ErrorCode code, bool by_peer) override {
    heard[stream.id].closed = code;
    heard[stream.id].by_peer = by_peer;
  }
  DataOffer offer(StreamState& stream, std::size_t most) override {
    const std::string& left = to_send[stream.id];
    const std::size_t bytes = std::min(most, left.size());
    const bool last = bytes == left.size();
    if (bytes == 0 && !last) return {.nothing_yet = true};
    return {
        .bytes = bytes, .last = last, .trailers = last ? std::span<const Field>{trailers} : std::span<const Field>{}};
  }
  std::span<const char> take(StreamState& stream, std::size_t bytes) override {
    taken = to_send[stream.id].substr(0, bytes);
    to_send[stream.id].erase(0, bytes);
    return taken;
  }
  void on_local_end(StreamState& stream) override { heard[stream.id].local_end = true; }

  BufferPool pool;
  OutputBlock output;
  std::vector<FrameHeader> frames;
  std::map<std::uint32_t, Heard> heard;
  std::map<std::uint32_t, int> sections;
  std::vector<SectionKind> kinds;
  std::vector<std::string> secrets;
  std::map<std::uint32_t, std::string> to_send;
  std::vector<Field> trailers;
  std::function<void(StreamState&)> on_request;
  bool gives_back = true;
  std::string taken;
  Connection connection;
};

std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string bytes(kFrameHeaderBytes, '\0');
  write_frame_header(
      bytes.data(),
      {.length = static_cast<std::uint32_t>(payload.size()), .type = type, .flags = flags, .stream = stream});
  return bytes.append(payload);
}

std::string word(std::uint32_t value) {
  std::string bytes(sizeof value, '\0');
  store_big_32(bytes.data(), value);
  return bytes;
}

std::string setting(Setting which, std::uint32_t value) {
  const auto id = static_cast<std::uint16_t>(which);
  return std::string{static_cast<char>(id >> 8U), static_cast<char>(id)} + word(value);
}

// GET https://a/, all in indexes and one literal.
constexpr std::string_view kGet = "\x82\x87\x84\x41\x01\x61";

// The frames in some output, each by its header.
std::vector<FrameHeader> frames_in(std::string_view bytes) {
  std::vector<FrameHeader> found;
  while (bytes.size() >= kFrameHeaderBytes) {
    found.push_back(read_frame_header(bytes.data()));
    bytes.remove_prefix(kFrameHeaderBytes + found.back().length);
  }
  EXPECT_TRUE(bytes.empty()) << "the last frame is cut";
  return found;
}

class ConnectionTest : public testing::Test {
 protected:
  void make(Connection::Bounds server_bounds = {.header_block_max_bytes = 1U << 20U}) {
    server =
        std::make_unique<End>(Connection::Role::server, server_bounds,
                              std::vector<SettingValue>{{Setting::initial_window_size,
                                                         static_cast<std::uint32_t>(server_bounds.stream_window)}});
    client = std::make_unique<End>(Connection::Role::client, Connection::Bounds{.header_block_max_bytes = 1U << 20U});
  }
  // Until both have nothing to say, `step` bytes at a time.
  void talk(std::size_t step = SIZE_MAX) {
    for (;;) {
      client->connection.send_data(1U << 20U);
      server->connection.send_data(1U << 20U);
      const std::string up = client->said();
      const std::string down = server->said();
      if (up.empty() && down.empty()) return;
      hand_over(*server, up, step);
      hand_over(*client, down, step);
    }
  }
  static void hand_over(End& to, std::string_view bytes, std::size_t step = SIZE_MAX) {
    while (!bytes.empty()) {
      to.connection.receive(bytes.substr(0, step));
      bytes.remove_prefix(std::min(step, bytes.size()));
    }
  }
  std::uint32_t ask(const std::vector<std::pair<std::string, std::string>>& more = {}, bool has_body = false) {
    client->connection.begin_head();
    client->connection.add_field({.name = ":method", .value = has_body ? "POST" : "GET"});
    client->connection.add_field({.name = ":scheme", .value = "https"});
    client->connection.add_field({.name = ":path", .value = "/"});
    client->connection.add_field({.name = ":authority", .value = "a"});
    for (const auto& [name, value] : more) client->connection.add_field({.name = name, .value = value});
    StreamState& stream = client->connection.open(client.get(), false);
    if (has_body) client->connection.start_body(stream);
    const std::uint32_t id = stream.id;
    client->connection.end_head(stream, !has_body);
    return id;
  }
  void answer(std::uint32_t id, std::string content) {
    server->connection.begin_head();
    server->connection.add_field({.name = ":status", .value = "200"});
    StreamState& stream = *server->connection.find(id);
    server->to_send[id] = std::move(content);
    server->connection.start_body(stream);
    server->connection.end_head(stream, false);
  }
  // A server that has heard the preface and SETTINGS, and everything that came since.
  void hand_to_server(const std::string& bytes) { hand_over(*server, bytes); }
  void greet() {
    hand_to_server(std::string{kPreface} + frame(FrameType::settings, 0, 0, ""));
    server->said();
  }

  std::unique_ptr<End> server;
  std::unique_ptr<End> client;
};

TEST_F(ConnectionTest, ARequestAndItsAnswerPassWhole) {
  for (const std::size_t step : {std::size_t{1}, std::size_t{7}, SIZE_MAX}) {
    make();
    const std::uint32_t id = ask({{"content-length", "4"}}, true);
    client->to_send[id] = "ping";
    talk(step);
    EXPECT_EQ(server->heard[id].fields, ":method=POST;:scheme=https;:path=/;:authority=a;content-length=4;|");
    EXPECT_EQ(server->heard[id].content, "ping");
    EXPECT_TRUE(server->heard[id].ended);
    server->trailers = {{"Grpc-Status", "0"}, {"connection", "close", FieldId::connection}};
    answer(id, std::string(100'000, 'x'));
    talk(step);
    EXPECT_EQ(client->heard[id].fields, ":status=200;|grpc-status=0;|");
    EXPECT_EQ(client->heard[id].content, std::string(100'000, 'x'));
    EXPECT_EQ(client->heard[id].closed, ErrorCode::no_error);
    EXPECT_EQ(server->heard[id].closed, ErrorCode::no_error);
    EXPECT_EQ(server->connection.streams(), 0U);
    EXPECT_EQ(client->connection.streams(), 0U);
    EXPECT_FALSE(server->connection.error());
    EXPECT_FALSE(client->connection.error());
  }
}

TEST_F(ConnectionTest, ALargeHeadGoesInSeveralFrames) {
  for (const std::size_t step : {std::size_t{1000}, SIZE_MAX}) {
    make();
    const std::string large(30'000, '~');  // 13 bits each with the Huffman code: it goes as it is
    const std::uint32_t id = ask({{"x", large}, {"y", large}});
    const std::string up = client->said();
    std::vector<std::uint32_t> lengths;
    for (const FrameHeader& each : frames_in(std::string_view{up}.substr(kPreface.size()))) {
      if (each.stream == id) lengths.push_back(each.length);
    }
    ASSERT_EQ(lengths.size(), 4U);
    EXPECT_THAT(std::vector(lengths.begin(), lengths.end() - 1), ElementsAre(kFrameMax, kFrameMax, kFrameMax));
    hand_over(*server, up, step);
    EXPECT_EQ(server->heard[id].fields,
              ":method=GET;:scheme=https;:path=/;:authority=a;x=" + large + ";y=" + large + ";|");
    EXPECT_FALSE(server->connection.in_header_block());
  }
}

TEST_F(ConnectionTest, WhatMustBeInNobodysTableIsWrittenSo) {  // RFC 7541 section 6.2.3
  make();
  server->trailers = {{.name = "X", .value = "y", .never_indexed = true}, {.name = "Z", .value = "y"}};
  const std::uint32_t id = ask();
  talk();
  answer(id, "");
  talk();
  EXPECT_THAT(client->secrets, ElementsAre("x"));
}

TEST_F(ConnectionTest, WithinAHeadItWaitsForTheRest) {
  make();
  greet();
  const std::string head =
      frame(FrameType::headers, kEndStream, 1, kGet) + frame(FrameType::continuation, kEndHeaders, 1, "");
  for (std::size_t i = 0; i + 1 < head.size(); ++i) {
    hand_to_server(head.substr(i, 1));
    EXPECT_EQ(server->connection.in_header_block(), i >= 3) << "the type of the frame is known from its fourth byte on";
  }
  hand_to_server(head.substr(head.size() - 1));
  EXPECT_FALSE(server->connection.in_header_block());
  EXPECT_EQ(server->connection.header_blocks(), 1U);
}

TEST_F(ConnectionTest, WindowsHoldBackAndAreGivenBack) {
  make({.stream_window = 1000, .connection_window = 200'000, .header_block_max_bytes = 1000});
  talk();
  server->gives_back = false;
  const std::uint32_t id = ask({}, true);
  client->to_send[id] = std::string(2500, 'x');
  talk();
  EXPECT_EQ(server->heard[id].content.size(), 1000U);
  server->connection.consume(id, 499);
  talk();
  EXPECT_EQ(server->heard[id].content.size(), 1000U) << "less than half of the window is not worth a frame";
  server->connection.consume(id, 1);
  talk();
  EXPECT_EQ(server->heard[id].content.size(), 1500U);
  server->connection.consume(id, 1000);
  talk();
  EXPECT_EQ(server->heard[id].content.size(), 2500U);
  EXPECT_TRUE(server->heard[id].ended);
}

TEST_F(ConnectionTest, ASmallWindowHoldsFromTheAcknowledgementOn) {
  make({.stream_window = 1000, .header_block_max_bytes = 1000});
  hand_to_server(std::string{kPreface} + frame(FrameType::settings, 0, 0, "") +
                 frame(FrameType::headers, kEndHeaders, 1, kGet));
  // RFC 9113 section 6.9.2: the client may not have seen it yet, and has the usual window until it says so.
  hand_to_server(frame(FrameType::data, 0, 1, std::string(5000, 'x')) + frame(FrameType::settings, kAck, 0, ""));
  EXPECT_EQ(server->heard[1].content.size(), 5000U);
  server->said();
  hand_to_server(frame(FrameType::headers, kEndHeaders, 3, kGet) +
                 frame(FrameType::data, 0, 3, std::string(1001, 'x')));
  EXPECT_EQ(server->heard[3].closed, ErrorCode::flow_control_error);
  EXPECT_FALSE(server->connection.error()) << "the connection goes on";
}

TEST_F(ConnectionTest, AConnectionsWindowMayBeSmallerThanTheUsual) {
  make({.connection_window = 10'000, .header_block_max_bytes = 1000});
  greet();
  hand_to_server(frame(FrameType::headers, kEndHeaders, 1, kGet));
  std::int64_t window = kInitialWindow;
  for (int i = 0; i < 100; ++i) {
    hand_to_server(frame(FrameType::data, 0, 1, std::string(1000, 'x')));
    window -= 1000;
    const std::string said = server->said();
    for (std::string_view left = said; !left.empty();) {
      const FrameHeader header = read_frame_header(left.data());
      if (header.type == FrameType::window_update && header.stream == 0) {
        window += load_big_32(left.data() + kFrameHeaderBytes);
      }
      left.remove_prefix(kFrameHeaderBytes + header.length);
    }
    EXPECT_GE(window, 1000) << "the client must not get stuck";
  }
  EXPECT_LE(window, 10'000);
}

TEST_F(ConnectionTest, PaddingCountsAndIsGivenBack) {
  make();
  greet();
  hand_to_server(frame(FrameType::headers, kEndHeaders, 1, kGet));
  const std::string padded =
      frame(FrameType::data, kPadded, 1, std::string(1, '\xff') + "abc" + std::string(255, '\0'));
  for (int i = 0; i < 1000; ++i) {  // far more than the windows, if nothing were given back
    hand_to_server(padded.substr(0, 12));
    hand_to_server(padded.substr(12));
    ASSERT_FALSE(server->connection.error()) << i;
  }
  EXPECT_EQ(server->heard[1].content.size(), 3000U);
}

TEST_F(ConnectionTest, MoreUrgentStreamsComeFirst) {
  make();
  const std::uint32_t later = ask({{"priority", "u=5"}});
  const std::uint32_t one = ask({{"priority", "u=2, i"}});
  const std::uint32_t two = ask({{"priority", "u=2, i"}});
  hand_over(*server, client->said());
  server->said();
  for (const std::uint32_t id : {later, one, two}) answer(id, std::string(std::size_t{2} * kFrameMax, 'x'));
  server->connection.send_data(1U << 20U);
  std::vector<std::uint32_t> order;
  for (const FrameHeader& each : frames_in(server->said())) {
    if (each.type == FrameType::data) order.push_back(each.stream);
  }
  ASSERT_GE(order.size(), 4U);
  EXPECT_THAT(std::vector(order.begin(), order.begin() + 4), ElementsAre(one, two, one, two));
}

TEST_F(ConnectionTest, APriorityMayComeBeforeItsStreamAndCountsMoreThanTheField) {
  make();
  greet();
  const auto update = [](std::uint32_t id, std::string_view value) {
    return frame(FrameType::priority_update, 0, 0, word(id).append(value));
  };
  hand_to_server(update(3, "u=0") + frame(FrameType::headers, kEndHeaders | kEndStream, 1, kGet) +
                 frame(FrameType::headers, kEndHeaders | kEndStream, 3, kGet));
  EXPECT_EQ(server->connection.find(1)->priority.urgency, 3);
  EXPECT_EQ(server->connection.find(3)->priority.urgency, 0);
  hand_to_server(update(1, "u=6, i"));
  EXPECT_EQ(server->connection.find(1)->priority, (Priority{6, true}));
}

TEST_F(ConnectionTest, WhatComesLateForAResetStreamIsReadAndForgotten) {
  make();
  greet();
  hand_to_server(frame(FrameType::headers, kEndHeaders, 1, kGet));
  server->connection.reset(1, ErrorCode::refused_stream);
  // Trailers that put an entry into the decoder's table, which the next request refers to.
  hand_to_server(frame(FrameType::data, 0, 1, "x") +
                 frame(FrameType::headers, kEndHeaders | kEndStream, 1, std::string_view{"\x40\x01x\x01y", 5}) +
                 frame(FrameType::headers, kEndHeaders | kEndStream, 3, std::string{kGet} + "\xbf"));
  EXPECT_FALSE(server->connection.error());
  EXPECT_THAT(server->heard[3].fields, testing::EndsWith("x=y;|"));
  EXPECT_EQ(server->sections[1], 1) << "nobody hears of it";
  // The client has ended it now: more is against the rules.
  hand_to_server(frame(FrameType::data, 0, 1, "x"));
  EXPECT_EQ(server->connection.error(), ErrorCode::stream_closed);
}

TEST_F(ConnectionTest, StreamsBehindAGoawayAreIgnored) {
  make();
  greet();
  hand_to_server(frame(FrameType::headers, kEndHeaders | kEndStream, 1, kGet));
  server->connection.goaway(1, ErrorCode::no_error);
  server->connection.refuse_above(1);
  hand_to_server(frame(FrameType::headers, kEndHeaders, 3, kGet) + frame(FrameType::data, kEndStream, 3, "x"));
  EXPECT_FALSE(server->connection.error());
  EXPECT_EQ(server->heard.count(3), 0U);
  EXPECT_EQ(server->connection.streams(), 1U);
}

TEST_F(ConnectionTest, AClientHearsWhichRequestsTheServerLeavesOut) {
  make();
  talk();
  const std::uint32_t first = ask();
  const std::uint32_t second = ask();
  client->said();
  hand_over(*client, frame(FrameType::goaway, 0, 0, word(first) + word(0)));
  EXPECT_FALSE(client->connection.may_open());
  EXPECT_EQ(client->heard[second].closed, ErrorCode::refused_stream);
  EXPECT_FALSE(client->heard[second].by_peer);
  EXPECT_FALSE(client->heard[first].closed);
}

TEST_F(ConnectionTest, AServerSaysHowManyStreamsItTakes) {
  make();
  EXPECT_EQ(client->connection.streams_max(), 100U) << "before it has said anything";
  hand_over(*client, frame(FrameType::settings, 0, 0, ""));
  EXPECT_EQ(client->connection.streams_max(), SIZE_MAX);
  hand_over(*client, frame(FrameType::settings, 0, 0, setting(Setting::max_concurrent_streams, 7)));
  EXPECT_EQ(client->connection.streams_max(), 7U);
}

TEST_F(ConnectionTest, WindowsMoveWithTheSetting) {
  make();
  greet();
  hand_to_server(frame(FrameType::settings, 0, 0, setting(Setting::initial_window_size, 10)) +
                 frame(FrameType::headers, kEndHeaders | kEndStream, 1, kGet));
  answer(1, std::string(30, 'x'));
  server->connection.send_data(1U << 20U);
  EXPECT_EQ(server->to_send[1].size(), 20U);
  hand_to_server(frame(FrameType::settings, 0, 0, setting(Setting::initial_window_size, 5)));
  EXPECT_EQ(server->connection.find(1)->send_window, -5);
  hand_to_server(frame(FrameType::settings, 0, 0, setting(Setting::initial_window_size, 25)));
  server->connection.send_data(1U << 20U);
  EXPECT_EQ(server->to_send[1].size(), 5U);
  // RFC 9113 section 6.9.2: above the maximum is an error of the connection.
  hand_to_server(frame(FrameType::window_update, 0, 1, word(100)) +
                 frame(FrameType::settings, 0, 0, setting(Setting::initial_window_size, 0x7fffffff)));
  EXPECT_EQ(server->connection.error(), ErrorCode::flow_control_error);
}

TEST_F(ConnectionTest, AnswersThatNobodyReadsAreBounded) {
  make({.header_block_max_bytes = 1000, .answers_max = 10});
  greet();
  const std::string ping = frame(FrameType::ping, 0, 0, "12345678");
  for (int i = 0; i < 10; ++i) hand_to_server(ping);
  EXPECT_FALSE(server->connection.error());
  server->said();
  for (int i = 0; i < 10; ++i) hand_to_server(ping);
  EXPECT_FALSE(server->connection.error()) << "those before were taken to be written";
  hand_to_server(ping);
  EXPECT_EQ(server->connection.error(), ErrorCode::enhance_your_calm);
  EXPECT_EQ(server->connection.flood(), Flood::queued_answers);
}

TEST_F(ConnectionTest, TheOutputHasABound) {
  make();
  greet();
  hand_to_server(frame(FrameType::window_update, 0, 0, word(1U << 20U)) +
                 frame(FrameType::settings, 0, 0, setting(Setting::initial_window_size, 1U << 20U)) +
                 frame(FrameType::headers, kEndHeaders | kEndStream, 1, kGet));
  answer(1, std::string(std::size_t{1} << 20U, 'x'));
  constexpr std::size_t kMost = 65536;
  server->connection.send_data(kMost);
  EXPECT_GE(server->output.size(), kMost);
  EXPECT_LE(server->output.size(), kMost + kFrameMax + kFrameHeaderBytes);
  EXPECT_TRUE(server->connection.has_data());
}

}  // namespace
}  // namespace dao::http::h2
