// What both sides of an HTTP/1 connection share: reading a framed body out of the read buffer, and writing pieces.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dao/base/error.h"
#include "dao/http/buffer.h"
#include "dao/http/exchange.h"
#include "dao/http/h1/chunked_decoder.h"
#include "dao/http/head.h"
#include "dao/net/stream.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"

namespace dao::http::h1 {

// Waits until the stream can be read and reads once. 0 bytes: the peer has closed. `timeout` names the error when the
// deadline passes first.
rt::Task<Result<std::size_t>> read_some(rt::Loop& loop, net::Stream& stream, std::span<char> into, Origin origin,
                                        Instant deadline, ErrorKind timeout, rt::Cancel* cancel);

// The first half of read_some, for callers that wait themselves: nullopt when there is nothing to read now.
std::optional<Result<std::size_t>> try_read_some(net::Stream& stream, std::span<char> into, Origin origin);
// Why a wait for the stream ended without it being ready.
Error interrupted(rt::Wake wake, Origin origin, ErrorKind timeout);

// Writes all pieces, waiting whenever the peer does not read; each wait is bounded by `stall`. Changes `pieces`.
// Error::sent tells whether anything left.
rt::Task<Result<>> write_all(rt::Loop& loop, net::Stream& stream, std::span<iovec> pieces, Origin origin,
                             Nanoseconds stall, rt::Cancel* cancel);

// The outcome of a write that did not wait: all written, or how many bytes are left.
// Returns false when write_all must go on with the (advanced) pieces.
Result<bool> try_write_all(net::Stream& stream, std::span<iovec>& pieces, Origin origin, bool& any_sent);

inline iovec piece_of(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};
}
inline iovec piece_of(std::span<const char> bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

// Decodes one body from a buffer. The connection owns stream and buffer.
class BodyReader {
 public:
  BodyReader(rt::Loop& loop, net::Stream& stream, Buffer& buffer, Origin origin)
      : loop_(loop), stream_(stream), buffer_(buffer), origin_(origin) {}

  // Prepares for the next message, whose framing and Connection options `head` tells. `max_bytes`: 0 = no limit.
  void start(const Head& head, std::size_t max_bytes, std::size_t trailer_max_bytes, std::size_t fields_max);

  [[nodiscard]] bool ended() const { return ended_; }
  // Bytes of body, decoded, since start().
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::span<const Field> trailers() const { return trailers_; }

  // Decodes what is in the buffer, without waiting. May give an empty piece that is not the last.
  Result<BodyPiece> take_buffered();
  // Gives the next non-empty piece, or the empty last one. The previous piece is gone.
  rt::Task<Result<BodyPiece>> read(Instant deadline, ErrorKind timeout, rt::Cancel* cancel);

  // The last piece is no longer needed: what comes after it in the buffer is the next message.
  void release_piece();

 private:
  Result<BodyPiece> piece(std::span<const char> bytes, bool last);
  [[nodiscard]] bool too_large() const;

  rt::Loop& loop_;
  net::Stream& stream_;
  Buffer& buffer_;
  Origin origin_;
  BodyFraming framing_;
  std::uint64_t left_ = 0;  // of a body with a length
  std::uint64_t bytes_ = 0;
  std::size_t max_bytes_ = 0;
  std::size_t fields_max_ = 0;
  std::size_t handed_out_ = 0;  // bytes at the front of the buffer that the last piece occupies
  bool ended_ = true;
  bool stream_ended_ = false;
  ChunkedDecoder chunks_;
  std::vector<Field> trailers_;
  std::vector<std::string> connection_options_;  // a trailer that Connection names is not passed on either
};

// What one write is made of: at most a head, and a chunk's size line, data and end.
class Pieces {
 public:
  void push_back(iovec piece) { pieces_[size_++] = piece; }
  [[nodiscard]] std::span<iovec> all() { return std::span(pieces_).first(size_); }

 private:
  std::array<iovec, 4> pieces_;
  std::size_t size_ = 0;
};

// Appends the framing of one piece of a chunked body to `pieces`: size line, data, line end, and for the last piece the
// final chunk with trailers. The text is kept in this object until the next call.
class ChunkedEncoder {
 public:
  void encode(BodyPiece piece, std::span<const Field> trailers, Pieces& pieces);
  // For callers that have their own list.
  void encode(BodyPiece piece, std::span<const Field> trailers, std::vector<iovec>& pieces) {
    Pieces own;
    encode(piece, trailers, own);
    pieces.insert(pieces.end(), own.all().begin(), own.all().end());
  }

 private:
  char size_line_[20] = {};
  std::string tail_;
};

// Writes fields that are not dropped as "Name: value\r\n".
char* write_fields(char* to, std::span<const Field> fields);
std::size_t size_of_fields(std::span<const Field> fields);
inline char* write_text(char* to, std::string_view text) {
  __builtin_memcpy(to, text.data(), text.size());
  return to + text.size();
}
// Decimal digits of `value`; at most 20 bytes.
char* write_number(char* to, std::uint64_t value);

}  // namespace dao::http::h1
