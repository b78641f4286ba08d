#include "dao/http/h2/connection.h"

#include <algorithm>
#include <cassert>

namespace dao::http::h2 {

namespace {
// What a client opens before the server has said how many it takes (RFC 9113 section 6.5.2: it should not take fewer).
constexpr std::size_t kStreamsBeforeSettings = 100;
}  // namespace

Connection::Connection(Role role, OutputBlock& output, ConnectionEvents& events, const Bounds& bounds,
                       std::span<const SettingValue> settings)
    : role_(role),
      output_(output),
      events_(events),
      bounds_(bounds),
      reading_(role == Role::server ? Reading::preface : Reading::header),
      streams_max_(kStreamsBeforeSettings),
      receive_window_(std::max(kInitialWindow, bounds.connection_window)),
      consumed_(std::min<std::int64_t>(0, bounds.connection_window - kInitialWindow)) {
  if (!is_server()) output_.append(kPreface.data(), kPreface.size());
  std::string payload;
  payload.reserve(settings.size() * kSettingBytes);
  for (const SettingValue& each : settings) {
    std::array<char, kSettingBytes> entry{};
    entry[0] = static_cast<char>(static_cast<std::uint16_t>(each.setting) >> 8U);
    entry[1] = static_cast<char>(each.setting);
    store_big_32(entry.data() + 2, each.value);
    payload.append(entry.data(), entry.size());
  }
  write_frame({.type = FrameType::settings}, payload);
  if (bounds_.connection_window > kInitialWindow) {
    write_word(FrameType::window_update, 0, static_cast<std::uint32_t>(bounds_.connection_window - kInitialWindow));
  }
}

Connection::~Connection() {
  for (const StreamState* stream : streams_) delete stream;
}

bool Connection::fail(ErrorCode code) {
  if (!error_) error_ = code;
  return false;
}

bool Connection::fail(Flood flood) {
  flood_ = flood;
  return fail(ErrorCode::enhance_your_calm);
}

// --- streams ---------------------------------------------------------------------------------------------------------

StreamState* Connection::find(std::uint32_t id) const {
  if (!streams_.empty() && streams_.back()->id == id) return streams_.back();
  const auto place = std::ranges::lower_bound(streams_, id, {}, &StreamState::id);
  return place != streams_.end() && (*place)->id == id ? *place : nullptr;
}

StreamState& Connection::add_stream(std::uint32_t id) {
  assert(streams_.empty() || streams_.back()->id < id);
  auto* const stream = new StreamState{};
  stream->id = id;
  stream->send_window = their_initial_window_;
  stream->receive_window = our_initial_window_;
  streams_.push_back(stream);
  return *stream;
}

StreamState& Connection::open(void* user, bool is_head) {
  assert(may_open());
  StreamState& stream = add_stream(next_id_);
  next_id_ += 2;
  stream.user = user;
  stream.no_body = is_head;
  return stream;
}

void Connection::reset(std::uint32_t id, ErrorCode code) {
  StreamState* const stream = find(id);
  if (stream == nullptr) return;
  if (!error_) write_word(FrameType::rst_stream, id, static_cast<std::uint32_t>(code));
  if (is_server()) expect_late_frames(id);
  events_.on_reset_sent(code);
  close(*stream, code, false);
}

void Connection::malformed(StreamState& stream) {
  if (stream.user != nullptr) events_.on_malformed(stream);
  reset(stream.id, ErrorCode::protocol_error);
}

void Connection::close(StreamState& stream, ErrorCode code, bool by_peer) {
  ready_.remove(stream);
  streams_.erase(std::ranges::lower_bound(streams_, stream.id, {}, &StreamState::id));
  if (stream.user != nullptr) events_.on_close(stream, code, by_peer);
  delete &stream;
}

void Connection::local_end(StreamState& stream) {
  stream.local_ended = true;
  stream.has_body = false;
  ready_.remove(stream);
  if (stream.user != nullptr) events_.on_local_end(stream);
  if (stream.remote_ended) close(stream, ErrorCode::no_error, false);
}

bool Connection::is_idle(std::uint32_t id) const {
  const bool clients = id % 2 == 1;  // nobody pushes: there are no others
  return !clients || (is_server() ? id > highest_ : id >= next_id_);
}

bool Connection::may_come_late(std::uint32_t id, bool ends) {
  if (!is_server() || id <= forgotten_) return true;
  const auto known = std::ranges::lower_bound(reset_by_us_, id);
  if (known == reset_by_us_.end() || *known != id) return false;
  if (ends) reset_by_us_.erase(known);
  return true;
}

void Connection::expect_late_frames(std::uint32_t id) {
  if (reset_by_us_.size() == kStreamsRemembered) {
    forgotten_ = std::max(forgotten_, reset_by_us_.front());
    reset_by_us_.erase(reset_by_us_.begin());
  }
  const auto place = std::ranges::lower_bound(reset_by_us_, id);
  if (place == reset_by_us_.end() || *place != id) reset_by_us_.insert(place, id);
}

// --- windows ---------------------------------------------------------------------------------------------------------

void Connection::consume_stream(std::uint32_t id, std::size_t bytes) {
  StreamState* const stream = find(id);
  if (stream == nullptr || stream->remote_ended) return;
  stream->consumed += static_cast<std::int64_t>(bytes);
  if (stream->consumed == 0 || stream->consumed < our_initial_window_ / 2) return;
  write_word(FrameType::window_update, id, static_cast<std::uint32_t>(stream->consumed));
  stream->receive_window += stream->consumed;
  stream->consumed = 0;
}

void Connection::consume_connection(std::size_t bytes) {
  consumed_ += static_cast<std::int64_t>(bytes);
  if (consumed_ <= 0 || consumed_ < bounds_.connection_window / 2) return;
  write_word(FrameType::window_update, 0, static_cast<std::uint32_t>(consumed_));
  receive_window_ += consumed_;
  consumed_ = 0;
}

}  // namespace dao::http::h2
