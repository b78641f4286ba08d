// What goes out: heads and control frames at once, DATA in the order of urgency.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "dao/http/h2/connection.h"

namespace dao::http::h2 {

void Connection::write_frame(const FrameHeader& header, std::string_view payload) {
  char* const at = output_.reserve(kFrameHeaderBytes + payload.size());
  FrameHeader complete = header;
  complete.length = static_cast<std::uint32_t>(payload.size());
  char* const behind = write_frame_header(at, complete);
  output_.commit(behind + payload.copy(behind, payload.size()));
}

void Connection::write_word(FrameType type, std::uint32_t stream, std::uint32_t word) {
  char bytes[sizeof word];
  store_big_32(bytes, word);
  write_frame({.type = type, .stream = stream}, {bytes, sizeof bytes});
}

bool Connection::answer(FrameType type, std::string_view payload) {
  if (++answers_waiting_ > bounds_.answers_max) return fail(Flood::queued_answers);
  write_frame({.type = type, .flags = kAck}, payload);
  return true;
}

void Connection::ping(std::string_view payload) {
  write_frame({.type = FrameType::ping}, payload);
}

void Connection::goaway(std::uint32_t last_stream, ErrorCode code) {
  char payload[2 * sizeof last_stream];
  store_big_32(payload, last_stream);
  store_big_32(payload + sizeof last_stream, static_cast<std::uint32_t>(code));
  write_frame({.type = FrameType::goaway}, {payload, sizeof payload});
}

// --- heads -----------------------------------------------------------------------------------------------------------

void Connection::begin_head() {
  head_at_ = output_.size();
  char* const at = output_.reserve(kFrameHeaderBytes + HpackEncoder::kBlockStartMost);
  output_.commit(encoder_.begin_block(at + kFrameHeaderBytes));
}

void Connection::add_field(const Field& field) {
  // A field that is known has its name in lower case at hand, whatever it came as.
  const std::string_view name = field.id == FieldId::other ? field.name : name_of(field.id);
  char* const at = output_.reserve(HpackEncoder::most_bytes(name, field.value));
  output_.commit(encoder_.add(name, field.value, at, field.never_indexed));
}

// The header of the frame was left free; a block that does not fit in one frame is moved apart for the others.
void Connection::end_head(StreamState& stream, bool ends_stream) {
  const std::size_t size = output_.size() - head_at_ - kFrameHeaderBytes;
  const std::size_t frames = std::max<std::size_t>(1, (size + kFrameMax - 1) / kFrameMax);
  if (frames > 1) {
    char* const end = output_.reserve((frames - 1) * kFrameHeaderBytes);
    output_.commit(end + (frames - 1) * kFrameHeaderBytes);
  }
  char* const first = output_.content().data() + head_at_;
  for (std::size_t i = frames; i-- > 0;) {
    const std::size_t part = std::min<std::size_t>(kFrameMax, size - i * kFrameMax);
    char* const at = first + i * (kFrameMax + kFrameHeaderBytes);
    if (i > 0) std::memmove(at + kFrameHeaderBytes, first + kFrameHeaderBytes + i * kFrameMax, part);
    FrameHeader header{.length = static_cast<std::uint32_t>(part), .stream = stream.id};
    header.type = i == 0 ? FrameType::headers : FrameType::continuation;
    if (i + 1 == frames) header.flags |= kEndHeaders;
    if (i == 0 && ends_stream) header.flags |= kEndStream;
    write_frame_header(at, header);
  }
  if (ends_stream) local_end(stream);
}

// --- content ---------------------------------------------------------------------------------------------------------

void Connection::start_body(StreamState& stream) {
  stream.has_body = true;
  ready_.add(stream);
}

void Connection::resume(std::uint32_t id) {
  StreamState* const stream = find(id);
  if (stream != nullptr && stream->has_body) ready_.add(*stream);
}

void Connection::send_data(std::size_t output_max) {
  while (ready_.first() != nullptr && send_window_ > 0 && output_.size() < output_max) send_frame_of(*ready_.first());
}

void Connection::send_frame_of(StreamState& stream) {
  const std::int64_t most =
      std::clamp<std::int64_t>(stream.send_window, 0, std::min<std::int64_t>(send_window_, kFrameMax));
  const DataOffer offer = events_.offer(stream, static_cast<std::size_t>(most));
  if (offer.nothing_yet || (offer.bytes == 0 && !offer.last)) {
    ready_.remove(stream);  // until resume(), or a window opens
    return;
  }
  const bool has_trailers =
      std::ranges::any_of(offer.trailers, [](const Field& field) { return passes_as_trailer(field); });
  char* const at = output_.reserve(kFrameHeaderBytes + offer.bytes);
  const bool ends = offer.last && !has_trailers;
  char* const content = write_frame_header(at, {.length = static_cast<std::uint32_t>(offer.bytes),
                                                .type = FrameType::data,
                                                .flags = ends ? kEndStream : std::uint8_t{0},
                                                .stream = stream.id});
  const std::span<const char> bytes = events_.take(stream, offer.bytes);
  assert(bytes.size() == offer.bytes);
  if (!bytes.empty()) std::memcpy(content, bytes.data(), bytes.size());
  output_.commit(content + bytes.size());
  stream.send_window -= static_cast<std::int64_t>(offer.bytes);
  send_window_ -= static_cast<std::int64_t>(offer.bytes);
  if (has_trailers) {
    begin_head();
    for (const Field& field : offer.trailers) {
      if (passes_as_trailer(field)) add_field(field);
    }
    end_head(stream, true);
  } else if (ends) {
    local_end(stream);
  } else if (stream.priority.incremental) {
    ready_.rotate(stream);
  }
}

}  // namespace dao::http::h2
