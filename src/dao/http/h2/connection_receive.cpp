// What came: frames are put together, checked, and acted upon.
#include <algorithm>
#include <cassert>

#include "dao/http/h2/connection.h"
#include "dao/http/status.h"

namespace dao::http::h2 {

namespace {

constexpr std::size_t kPriorityBytes = 5;
constexpr std::size_t kWordBytes = 4;
constexpr std::size_t kPingBytes = 8;
constexpr std::size_t kGatheredKept = 1024;  // between frames
constexpr std::size_t kEarlyPriorities = 100;

void keep_small(std::string& text) {
  if (text.capacity() > kGatheredKept) {
    std::string{}.swap(text);
  } else {
    text.clear();
  }
}

// What lies between the length of the padding and the padding. False: that is longer than the frame.
bool strip_padding(const FrameHeader& header, std::string_view& payload) {
  if (!header.has(kPadded)) return true;
  if (payload.empty()) return false;
  const std::size_t padding = static_cast<unsigned char>(payload.front());
  payload.remove_prefix(1);
  if (padding > payload.size()) return false;
  payload.remove_suffix(padding);
  return true;
}

}  // namespace

bool Connection::receive(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (reading_) {
      case Reading::preface: {
        const std::size_t take = std::min(kPreface.size() - header_have_, bytes.size());
        if (bytes.substr(0, take) != kPreface.substr(header_have_, take)) return fail(ErrorCode::protocol_error);
        header_have_ += static_cast<std::uint8_t>(take);
        bytes.remove_prefix(take);
        if (header_have_ < kPreface.size()) return true;
        header_have_ = 0;
        reading_ = Reading::header;
        break;
      }
      case Reading::header: {
        const std::size_t take = std::min(kFrameHeaderBytes - header_have_, bytes.size());
        bytes.copy(header_bytes_.data() + header_have_, take);
        header_have_ += static_cast<std::uint8_t>(take);
        bytes.remove_prefix(take);
        if (header_have_ < kFrameHeaderBytes) return true;
        header_have_ = 0;
        header_ = read_frame_header(header_bytes_.data());
        payload_left_ = header_.length;
        if (!frame_begins()) return false;
        if (payload_left_ > 0) break;
        if (reading_ == Reading::payload && !frame_complete({})) return false;
        if (reading_ == Reading::data && !data_ends()) return false;
        reading_ = Reading::header;
        break;
      }
      case Reading::payload: {
        const std::string_view part = bytes.substr(0, payload_left_);
        bytes.remove_prefix(part.size());
        payload_left_ -= static_cast<std::uint32_t>(part.size());
        if (payload_left_ > 0 || !gathered_.empty()) gathered_.append(part);
        if (payload_left_ > 0) return true;
        const bool fine = frame_complete(gathered_.empty() ? part : std::string_view{gathered_});
        keep_small(gathered_);
        if (!fine) return false;
        reading_ = Reading::header;
        break;
      }
      case Reading::data: {
        const std::string_view part = bytes.substr(0, payload_left_);
        bytes.remove_prefix(part.size());
        payload_left_ -= static_cast<std::uint32_t>(part.size());
        if (!data_arrived(part)) return false;
        if (payload_left_ > 0) return true;
        if (!data_ends()) return false;
        reading_ = Reading::header;
        break;
      }
      case Reading::skipped: {
        const std::size_t take = std::min<std::size_t>(payload_left_, bytes.size());
        bytes.remove_prefix(take);
        payload_left_ -= static_cast<std::uint32_t>(take);
        if (payload_left_ == 0) reading_ = Reading::header;
        break;
      }
    }
  }
  return true;
}

bool Connection::in_header_block() const {
  constexpr std::size_t kTypeAt = 3;
  if (block_stream_ != 0) return true;
  // The first frame of a block is waited for no longer than the rest of it.
  if (reading_ == Reading::header) {
    return header_have_ > kTypeAt && static_cast<FrameType>(header_bytes_[kTypeAt]) == FrameType::headers;
  }
  return reading_ == Reading::payload && header_.type == FrameType::headers;
}

// Everything that can be judged by the header is judged here, so that nothing is waited for that cannot be good.
bool Connection::frame_begins() {
  reading_ = Reading::payload;
  const std::uint32_t length = header_.length;
  if (const std::optional<ErrorCode> code = events_.on_frame(header_)) return fail(*code);
  if (length > kFrameMax) return fail(ErrorCode::frame_size_error);
  if (!settings_came_ && (header_.type != FrameType::settings || header_.has(kAck))) {
    return fail(ErrorCode::protocol_error);
  }
  if (block_stream_ != 0 && (header_.type != FrameType::continuation || header_.stream != block_stream_)) {
    return fail(ErrorCode::protocol_error);
  }
  const bool of_connection = header_.stream == 0;
  const auto expect = [this](bool right_stream, bool right_length) {
    if (!right_stream) return fail(ErrorCode::protocol_error);
    return right_length || fail(ErrorCode::frame_size_error);
  };
  switch (header_.type) {
    case FrameType::data:
      return data_begins();
    case FrameType::headers:
      return headers_begin();
    case FrameType::continuation:
      if (block_stream_ == 0) return fail(ErrorCode::protocol_error);
      if (++continuations_ > bounds_.continuations_max) return fail(Flood::continuations);
      return block_.size() + length <= bounds_.header_block_max_bytes || fail(Flood::header_bytes);
    case FrameType::priority:
      return expect(!of_connection, length == kPriorityBytes);
    case FrameType::rst_stream:
      return expect(!of_connection && !is_idle(header_.stream), length == kWordBytes);
    case FrameType::settings:
      return expect(of_connection, header_.has(kAck) ? length == 0 : length % kSettingBytes == 0);
    case FrameType::ping:
      return expect(of_connection, length == kPingBytes);
    case FrameType::goaway:
      return expect(of_connection, length >= 2 * kWordBytes);
    case FrameType::window_update:
      return expect(of_connection || !is_idle(header_.stream), length == kWordBytes);
    case FrameType::push_promise:  // clients cannot, and servers were told not to (RFC 9113 sections 6.6 and 8.4)
      return fail(ErrorCode::protocol_error);
    case FrameType::priority_update:
      if (!is_server()) break;
      return expect(of_connection, length >= kWordBytes);
  }
  reading_ = Reading::skipped;  // RFC 9113 section 4.1
  return true;
}

bool Connection::frame_complete(std::string_view payload) {
  switch (header_.type) {
    case FrameType::headers:
    case FrameType::continuation:
      return headers_arrived(payload);
    case FrameType::priority:
      // RFC 7540 section 5.3.1; otherwise the old priorities mean nothing (RFC 9113 section 5.3.2).
      return (load_big_32(payload.data()) & kStreamIdMax) != header_.stream || fail(ErrorCode::protocol_error);
    case FrameType::rst_stream:
      if (StreamState* const stream = find(header_.stream)) {
        close(*stream, static_cast<ErrorCode>(load_big_32(payload.data())), true);
      } else {
        static_cast<void>(may_come_late(header_.stream, true));
      }
      return true;
    case FrameType::settings:
      return settings_arrived(payload);
    case FrameType::ping:
      if (!header_.has(kAck)) return answer(FrameType::ping, payload);
      events_.on_ping_answer(payload);
      return true;
    case FrameType::goaway:
      return goaway_arrived(payload);
    case FrameType::window_update:
      return window_update_arrived(payload);
    case FrameType::priority_update:
      return priority_update_arrived(payload);
    default:
      return true;
  }
}

// --- content ---------------------------------------------------------------------------------------------------------

bool Connection::data_begins() {
  reading_ = Reading::data;
  const std::uint32_t id = header_.stream;
  if (is_idle(id)) return fail(ErrorCode::protocol_error);
  if (header_.has(kPadded) && header_.length == 0) return fail(ErrorCode::frame_size_error);
  if (header_.length > receive_window_) return fail(ErrorCode::flow_control_error);
  receive_window_ -= header_.length;
  padding_unread_ = header_.has(kPadded);
  padding_left_ = 0;
  frame_had_content_ = false;
  StreamState* const stream = find(id);
  if (stream == nullptr) return may_come_late(id, header_.has(kEndStream)) || fail(ErrorCode::stream_closed);
  if (stream->remote_ended) return fail(ErrorCode::stream_closed);
  if (header_.length > stream->receive_window) {
    reset(id, ErrorCode::flow_control_error);
    return true;
  }
  stream->receive_window -= header_.length;
  const bool content_allowed = is_server() || stream->head_came;
  if (!content_allowed) malformed(*stream);
  return true;
}

bool Connection::data_arrived(std::string_view bytes) {
  const std::uint32_t id = header_.stream;
  std::size_t overhead = 0;
  if (padding_unread_) {
    padding_unread_ = false;
    padding_left_ = static_cast<std::uint8_t>(bytes.front());
    if (padding_left_ >= header_.length) return fail(ErrorCode::protocol_error);
    bytes.remove_prefix(1);
    ++overhead;
  }
  // What is left of the frame behind these bytes may be padding, and these may reach into it.
  const std::size_t behind = payload_left_;
  const std::size_t padding_here = padding_left_ > behind ? std::min(padding_left_ - behind, bytes.size()) : 0;
  bytes.remove_suffix(padding_here);
  overhead += padding_here;
  if (overhead > 0) consume(id, overhead);
  if (bytes.empty()) return true;
  frame_had_content_ = true;
  StreamState* const stream = find(id);
  if (stream == nullptr || stream->user == nullptr) {
    consume(id, bytes.size());
    return true;
  }
  stream->received += bytes.size();
  if (stream->length && stream->received > *stream->length) {
    consume_connection(bytes.size());
    malformed(*stream);
    return true;
  }
  events_.on_data(*stream, bytes);
  return true;
}

bool Connection::data_ends() {
  if (!header_.has(kEndStream)) {
    if (header_.length > 0 && !frame_had_content_) {
      if (const std::optional<ErrorCode> code = events_.on_padding_only()) return fail(*code);
    }
    return true;
  }
  StreamState* const stream = find(header_.stream);
  if (stream == nullptr) return true;
  if (stream->length && stream->received != *stream->length) {
    malformed(*stream);
    return true;
  }
  stream->remote_ended = true;
  if (stream->user != nullptr) events_.on_remote_end(*stream);
  StreamState* const left = find(header_.stream);
  if (left != nullptr && left->local_ended) close(*left, ErrorCode::no_error, false);
  return true;
}

// --- heads -----------------------------------------------------------------------------------------------------------

bool Connection::headers_begin() {
  const std::uint32_t id = header_.stream;
  ++header_blocks_;
  continuations_ = 0;
  if (id % 2 == 0 || (!is_server() && is_idle(id))) return fail(ErrorCode::protocol_error);
  if (header_.length > bounds_.header_block_max_bytes) return fail(Flood::header_bytes);
  if (is_server() && id > highest_) {
    highest_ = id;
    if (id > refused_above_) expect_late_frames(id);
    return true;
  }
  const StreamState* const stream = find(id);
  if (stream != nullptr) return !stream->remote_ended || fail(ErrorCode::stream_closed);
  return may_come_late(id, header_.has(kEndStream)) || fail(ErrorCode::stream_closed);
}

bool Connection::headers_arrived(std::string_view payload) {
  if (header_.type == FrameType::headers) {
    if (!strip_padding(header_, payload)) return fail(ErrorCode::protocol_error);
    block_depends_on_itself_ = false;
    if (header_.has(kHasPriority)) {
      if (payload.size() < kPriorityBytes) return fail(ErrorCode::frame_size_error);
      block_depends_on_itself_ = (load_big_32(payload.data()) & kStreamIdMax) == header_.stream;
      payload.remove_prefix(kPriorityBytes);
    }
    block_ends_stream_ = header_.has(kEndStream);
    if (header_.has(kEndHeaders)) return block_complete(payload);
    block_stream_ = header_.stream;
    block_ = payload;
    return true;
  }
  block_.append(payload);
  if (!header_.has(kEndHeaders)) return true;
  block_stream_ = 0;
  const bool fine = block_complete(block_);
  keep_small(block_);
  return fine;
}

SectionKind Connection::kind_of_next_section(const StreamState& stream) const {
  if (stream.head_came) return SectionKind::trailers;
  return is_server() ? SectionKind::request : SectionKind::response;
}

// Every block is decoded, whatever becomes of it: it changes the decoder's state (RFC 9113 section 4.3).
bool Connection::block_complete(std::string_view block) {
  const std::uint32_t id = header_.stream;
  StreamState* stream = find(id);
  const bool is_new = is_server() && stream == nullptr && id == highest_ && id > last_begun_ && id <= refused_above_;
  if (is_new) {
    last_begun_ = id;
    stream = &add_stream(id);
    const auto early = std::ranges::find(early_priorities_, id, &EarlyPriority::stream);
    if (early != early_priorities_.end()) stream->priority = early->priority;
    stream->priority_known = early != early_priorities_.end();
    std::erase_if(early_priorities_, [id](const EarlyPriority& each) { return each.stream <= id; });
  }
  return take_section(block, stream, stream == nullptr ? SectionKind::trailers : kind_of_next_section(*stream),
                      block_ends_stream_);
}

bool Connection::take_section(std::string_view block, StreamState* stream, SectionKind kind, bool ends_stream) {
  enum class Fate : std::uint8_t { wanted, malformed, refused, ignored };
  Fate fate = stream == nullptr ? Fate::ignored : Fate::wanted;
  rules_.begin(kind);
  if (stream != nullptr) events_.on_section(*stream);
  decoder_.begin(block);
  HpackField field;
  HpackDecoder::Step step = HpackDecoder::Step::end;
  while ((step = decoder_.next(field)) == HpackDecoder::Step::field) {
    if (fate != Fate::wanted) continue;
    if (!rules_.add(field)) {
      fate = Fate::malformed;
    } else if (!events_.on_field(*stream, field, rules_.id())) {
      if (is_server()) return fail(Flood::header_bytes);
      fate = Fate::refused;
    }
  }
  if (step == HpackDecoder::Step::error) return fail(ErrorCode::compression_error);
  if (fate == Fate::ignored) return true;
  if (fate == Fate::refused) {
    reset(stream->id, ErrorCode::internal_error);
  } else if (fate == Fate::malformed || block_depends_on_itself_ || !rules_.complete()) {
    malformed(*stream);
  } else {
    section_ended(*stream, kind, ends_stream);
  }
  return true;
}

void Connection::section_ended(StreamState& stream, SectionKind kind, bool ends_stream) {
  const std::uint32_t id = stream.id;
  const bool interim = kind == SectionKind::response && rules_.interim();
  // An interim head does not end a stream, and trailers do nothing else.
  if (kind == SectionKind::trailers ? !ends_stream : interim && ends_stream) {
    malformed(stream);
    return;
  }
  if (kind == SectionKind::request) {
    if (!stream.priority_known) stream.priority = rules_.priority();
    stream.length = rules_.is_tunnel() ? std::nullopt : rules_.length();
    stream.head_came = true;
    last_stream_ = id;
  } else if (kind == SectionKind::response && !interim) {
    stream.no_body =
        stream.no_body || rules_.status() == http::status::kNoContent || rules_.status() == http::status::kNotModified;
    stream.length = stream.no_body ? std::optional<std::uint64_t>{0} : rules_.length();
    stream.head_came = true;
  }
  if (ends_stream && stream.length && stream.received != *stream.length) {
    malformed(stream);
    return;
  }
  stream.remote_ended = ends_stream;
  events_.on_section_end(stream, kind, ends_stream);
  StreamState* const left = find(id);
  if (left != nullptr && left->remote_ended && left->local_ended) close(*left, ErrorCode::no_error, false);
}

// --- the connection --------------------------------------------------------------------------------------------------

bool Connection::settings_arrived(std::string_view payload) {
  if (header_.has(kAck)) {
    if (!settings_unanswered_) return fail(ErrorCode::protocol_error);
    settings_unanswered_ = false;
    // RFC 9113 section 6.9.2: what we have set holds from here on.
    const std::int64_t more = bounds_.stream_window - our_initial_window_;
    our_initial_window_ = bounds_.stream_window;
    for (StreamState* stream : streams_) stream->receive_window += more;
    return true;
  }
  if (!settings_came_ && !is_server()) streams_max_ = SIZE_MAX;  // unless it says otherwise
  settings_came_ = true;
  for (; !payload.empty(); payload.remove_prefix(kSettingBytes)) {
    const auto id = static_cast<Setting>(load_big_32(payload.data()) >> 16U);
    if (!apply({id, load_big_32(payload.data() + 2)})) return false;
  }
  return answer(FrameType::settings, {});
}

bool Connection::apply(SettingValue value) {
  constexpr std::uint32_t kFrameMaxMost = (1U << 24U) - 1;
  switch (value.setting) {
    case Setting::header_table_size:
      encoder_.set_table_max(value.value);
      return true;
    case Setting::enable_push:
      return value.value <= (is_server() ? 1U : 0U) || fail(ErrorCode::protocol_error);
    case Setting::max_concurrent_streams:
      if (!is_server()) streams_max_ = value.value;
      return true;
    case Setting::initial_window_size: {
      if (value.value > kWindowMax) return fail(ErrorCode::flow_control_error);
      const std::int64_t more = std::int64_t{value.value} - their_initial_window_;
      their_initial_window_ = value.value;
      for (StreamState* stream : streams_) {
        stream->send_window += more;
        if (stream->send_window > kWindowMax) return fail(ErrorCode::flow_control_error);
        if (stream->has_body && stream->send_window > 0) ready_.add(*stream);
      }
      return true;
    }
    case Setting::max_frame_size:
      if (value.value < kFrameMax || value.value > kFrameMaxMost) return fail(ErrorCode::protocol_error);
      return true;  // larger frames are allowed, not asked for
    case Setting::enable_connect_protocol:
    case Setting::no_rfc7540_priorities:
      return value.value <= 1 || fail(ErrorCode::protocol_error);
    default:
      return true;
  }
}

bool Connection::priority_update_arrived(std::string_view payload) {
  const std::uint32_t id = load_big_32(payload.data()) & kStreamIdMax;
  if (id % 2 == 0) return fail(ErrorCode::protocol_error);  // RFC 9218 section 7.1
  payload.remove_prefix(kWordBytes);
  const Priority priority = read_priority(payload, {});
  if (StreamState* const stream = find(id)) {
    const bool ready = stream->ready;
    ready_.remove(*stream);
    stream->priority = priority;
    if (ready) ready_.add(*stream);
  } else if (id > highest_) {
    const auto known = std::ranges::find(early_priorities_, id, &EarlyPriority::stream);
    if (known != early_priorities_.end()) {
      known->priority = priority;
    } else if (early_priorities_.size() < kEarlyPriorities) {
      early_priorities_.push_back({id, priority});
    }
  }
  return true;
}

bool Connection::goaway_arrived(std::string_view payload) {
  if (is_server()) return true;  // it pushes nothing; what runs is finished
  const std::uint32_t last = load_big_32(payload.data()) & kStreamIdMax;
  // RFC 9113 section 6.8: a stream of ours, and never a later one than before.
  if ((last != 0 && last % 2 == 0) || last > goaway_last_) return fail(ErrorCode::protocol_error);
  goaway_last_ = last;
  goaway_came_ = true;
  while (!streams_.empty() && streams_.back()->id > last) close(*streams_.back(), ErrorCode::refused_stream, false);
  return true;
}

bool Connection::window_update_arrived(std::string_view payload) {
  const std::uint32_t more = load_big_32(payload.data()) & kStreamIdMax;
  if (header_.stream == 0) {
    if (more == 0) return fail(ErrorCode::protocol_error);
    send_window_ += more;
    return send_window_ <= kWindowMax || fail(ErrorCode::flow_control_error);
  }
  StreamState* const stream = find(header_.stream);
  if (more == 0) {
    if (stream != nullptr) malformed(*stream);
    return true;
  }
  if (stream == nullptr) return true;
  stream->send_window += more;
  if (stream->send_window > kWindowMax) {
    if (stream->user != nullptr) events_.on_malformed(*stream);
    reset(stream->id, ErrorCode::flow_control_error);
  } else if (stream->has_body) {
    ready_.add(*stream);
  }
  return true;
}

}  // namespace dao::http::h2
