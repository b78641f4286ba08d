#include "dao/http/h1/message_io.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/syntax.h"

namespace dao::http::h1 {

std::optional<Result<std::size_t>> try_read_some(net::Stream& stream, std::span<char> into, Origin origin) {
  const net::IoResult result = stream.try_read(into);
  switch (result.status) {
    case net::IoStatus::ok:
      return result.bytes;
    case net::IoStatus::end:
      return std::size_t{0};
    case net::IoStatus::failed:
      return std::unexpected(stream.error_of(result, origin));
    case net::IoStatus::would_block:
      break;
  }
  return std::nullopt;
}

Error interrupted(rt::Wake wake, Origin origin, ErrorKind timeout) {
  if (wake == rt::Wake::timed_out) return Error{.origin = origin, .kind = timeout};
  return Error{.origin = Origin::us, .kind = ErrorKind::cancelled};
}

rt::Task<Result<std::size_t>> read_some(rt::Loop& loop, net::Stream& stream, std::span<char> into, Origin origin,
                                        Instant deadline, ErrorKind timeout, rt::Cancel* cancel) {
  for (;;) {
    const std::optional<Result<std::size_t>> got = try_read_some(stream, into, origin);
    if (got) co_return *got;
    const rt::Wake wake = co_await stream.wait_readable(loop, deadline, cancel);
    if (wake != rt::Wake::ready) co_return std::unexpected(interrupted(wake, origin, timeout));
  }
}

Result<bool> try_write_all(net::Stream& stream, std::span<iovec>& pieces, Origin origin, bool& any_sent) {
  while (!pieces.empty()) {
    if (pieces.front().iov_len == 0) {
      pieces = pieces.subspan(1);
      continue;
    }
    const net::IoResult result = stream.try_write(pieces);
    if (result.status == net::IoStatus::would_block) return false;
    if (result.status == net::IoStatus::failed) {
      return std::unexpected(stream.error_of(result, origin).with_sent(any_sent ? Sent::maybe : Sent::nothing));
    }
    any_sent = true;
    std::size_t left = result.bytes;
    while (left > 0) {
      iovec& front = pieces.front();
      if (left < front.iov_len) {
        front.iov_base = static_cast<char*>(front.iov_base) + left;
        front.iov_len -= left;
        break;
      }
      left -= front.iov_len;
      pieces = pieces.subspan(1);
    }
  }
  return true;
}

rt::Task<Result<>> write_all(rt::Loop& loop, net::Stream& stream, std::span<iovec> pieces, Origin origin,
                             Nanoseconds stall, rt::Cancel* cancel) {
  bool any_sent = false;
  for (;;) {
    const Result<bool> done = try_write_all(stream, pieces, origin, any_sent);
    if (!done) co_return std::unexpected(done.error());
    if (*done) co_return Result<>{};
    // The kernel says "writable" only when much of its buffer is free again, which a slow reader may need longer for.
    // So half-way the unread bytes are counted: if they have become fewer by the end, the peer is slow, not stuck.
    rt::Wake wake = co_await stream.wait_writable(loop, loop.now() + stall / 2, cancel);
    std::size_t unread = wake == rt::Wake::timed_out ? stream.unread_by_peer() : 0;
    while (wake == rt::Wake::timed_out) {
      wake = co_await stream.wait_writable(loop, loop.now() + (stall - stall / 2), cancel);
      const std::size_t before = std::exchange(unread, stream.unread_by_peer());
      if (unread >= before && !stream.held_up_by_others()) break;
    }
    if (wake == rt::Wake::ready) continue;
    const Sent sent = any_sent ? Sent::maybe : Sent::nothing;
    if (wake == rt::Wake::timed_out) {
      co_return std::unexpected(Error{.origin = origin, .kind = ErrorKind::timeout_write, .sent = sent});
    }
    co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::cancelled, .sent = sent});
  }
}

void BodyReader::start(const Head& head, std::size_t max_bytes, std::size_t trailer_max_bytes, std::size_t fields_max) {
  framing_ = head.framing;
  left_ = framing_.length;
  bytes_ = 0;
  max_bytes_ = max_bytes;
  fields_max_ = fields_max;
  handed_out_ = 0;
  ended_ = framing_.kind == BodyFraming::Kind::none;
  stream_ended_ = false;
  trailers_.clear();
  if (framing_.kind != BodyFraming::Kind::chunked) return;
  chunks_ = ChunkedDecoder(origin_, trailer_max_bytes);
  connection_options_.clear();
  for (const Field& field : head.fields) {
    if (field.id != FieldId::connection) continue;
    for_each_element(field.value, [this](std::string_view option) { connection_options_.emplace_back(option); });
  }
}

void BodyReader::release_piece() {
  buffer_.consume(handed_out_);
  handed_out_ = 0;
}

Result<BodyPiece> BodyReader::piece(std::span<const char> bytes, bool last) {
  bytes_ += bytes.size();
  ended_ = last;
  if (too_large()) return std::unexpected(Error{.origin = origin_, .kind = ErrorKind::body_too_large});
  return BodyPiece{bytes, last};
}

// By what has come, and by what is announced: nobody is asked to send what will be refused.
bool BodyReader::too_large() const {
  if (max_bytes_ == 0) return false;
  if (framing_.kind == BodyFraming::Kind::length) return framing_.length > max_bytes_;
  const std::uint64_t announced = framing_.kind == BodyFraming::Kind::chunked ? chunks_.announced() : 0;
  return bytes_ > max_bytes_ || announced > max_bytes_ - bytes_;
}

Result<BodyPiece> BodyReader::take_buffered() {
  release_piece();
  if (ended_) return BodyPiece{{}, true};
  const std::span<char> content = buffer_.mutable_content();
  switch (framing_.kind) {
    case BodyFraming::Kind::none:
      return BodyPiece{{}, true};
    case BodyFraming::Kind::length: {
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, content.size()));
      left_ -= take;
      handed_out_ = take;
      return piece(content.first(take), left_ == 0);
    }
    case BodyFraming::Kind::until_close:
      handed_out_ = content.size();
      return piece(content, stream_ended_);
    case BodyFraming::Kind::chunked: {
      const Result<ChunkedDecoder::Step> step = chunks_.decode(content);
      if (!step) return std::unexpected(step.error());
      handed_out_ = step->consumed;
      if (step->done && !chunks_.trailer_section().empty()) {
        const Result<> parsed = parse_trailers(chunks_.trailer_section(), fields_max_, origin_, trailers_);
        if (!parsed) return std::unexpected(parsed.error());
        std::erase_if(trailers_, [this](const Field& trailer) {
          return std::ranges::any_of(connection_options_,
                                     [&](const auto& option) { return equals_ignoring_case(option, trailer.name); });
        });
      }
      return piece(step->data, step->done);
    }
  }
  return BodyPiece{{}, true};
}

rt::Task<Result<BodyPiece>> BodyReader::read(Instant deadline, ErrorKind timeout, rt::Cancel* cancel) {
  for (;;) {
    Result<BodyPiece> taken = take_buffered();
    if (!taken || taken->last || !taken->bytes.empty()) co_return taken;
    release_piece();
    // A body that filled the block is worth a larger one: fewer system calls for each byte.
    const bool more_to_come = framing_.kind != BodyFraming::Kind::length || left_ > BufferPool::kSmall;
    const bool large = bytes_ >= BufferPool::kSmall && more_to_come;
    if (large) buffer_.enlarge();
    const std::span<char> room = buffer_.room(BufferPool::kLarge);
    auto reading = read_some(loop_, stream_, room, origin_, deadline, timeout, cancel);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got) {
      if (got.error().kind == ErrorKind::cancelled || got.error().origin != origin_)
        co_return std::unexpected(got.error());
      co_return std::unexpected(got.error().with_sent(Sent::maybe));
    }
    if (*got == 0) {
      if (framing_.kind != BodyFraming::Kind::until_close) {
        co_return std::unexpected(Error{
            .origin = origin_, .kind = ErrorKind::incomplete, .sent = Sent::maybe, .detail = "closed within the body"});
      }
      stream_ended_ = true;
    }
    buffer_.filled(*got);
  }
}

std::size_t size_of_fields(std::span<const Field> fields) {
  std::size_t size = 0;
  for (const Field& field : fields) {
    if (field.dropped) continue;
    size += field.line_bytes != 0 ? field.line_bytes : field.name.size() + field.value.size() + 4;
  }
  return size;
}

char* write_fields(char* to, std::span<const Field> fields) {
  // Neighbouring lines that are passed on as they came are copied in one go.
  std::string_view run;
  for (const Field& field : fields) {
    if (field.dropped) continue;
    if (field.line_bytes != 0) {
      if (field.name.data() == run.data() + run.size()) {
        run = {run.data(), run.size() + field.line_bytes};
      } else {
        if (!run.empty()) to = write_text(to, run);
        run = {field.name.data(), field.line_bytes};
      }
      continue;
    }
    if (!run.empty()) to = write_text(to, run);
    run = {};
    to = write_text(to, field.name);
    *to++ = ':';
    *to++ = ' ';
    to = write_text(to, field.value);
    *to++ = '\r';
    *to++ = '\n';
  }
  return run.empty() ? to : write_text(to, run);
}

char* write_number(char* to, std::uint64_t value) {
  return std::to_chars(to, to + 20, value).ptr;
}

void ChunkedEncoder::encode(BodyPiece piece, std::span<const Field> trailers, Pieces& pieces) {
  tail_.clear();
  if (!piece.bytes.empty()) {
    char* end = std::to_chars(size_line_, size_line_ + 16, piece.bytes.size(), 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    pieces.push_back({size_line_, static_cast<std::size_t>(end - size_line_)});
    pieces.push_back(piece_of(piece.bytes));
    tail_ = "\r\n";
  }
  if (piece.last) {
    tail_ += "0\r\n";
    const std::size_t at = tail_.size();
    tail_.resize(at + size_of_fields(trailers));
    write_fields(tail_.data() + at, trailers);
    tail_ += "\r\n";
  }
  pieces.push_back(piece_of(std::string_view{tail_}));
}

}  // namespace dao::http::h1
