#include "dao/http/h1/chunked_decoder.h"

#include <algorithm>
#include <cstring>

#include "dao/http/h1/syntax.h"

namespace dao::http::h1 {

namespace {
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

Result<ChunkedDecoder::Step> ChunkedDecoder::decode(std::span<char> input) {
  char* at = input.data();
  char* const end = at + input.size();
  char* data_begin = nullptr;  // the piece gathered so far
  char* data_end = nullptr;
  const auto result = [&](bool done) {
    Step step;
    step.consumed = static_cast<std::size_t>(at - input.data());
    if (data_begin != nullptr) step.data = {data_begin, data_end};
    step.done = done;
    return step;
  };

  while (at != end) {
    const char c = *at;
    switch (state_) {
      case State::size: {
        const int value = hex_value(c);
        if (value < 0) return fail("invalid chunk size (RFC 9112 7.1)");
        left_ = static_cast<std::uint64_t>(value);
        digits_ = 1;
        extension_bytes_ = 0;
        state_ = State::size_digits;
        ++at;
        break;
      }
      case State::size_digits: {
        const int value = hex_value(c);
        if (value >= 0) {
          if (++digits_ > 16 || left_ >> 59U != 0) return fail("chunk size too large (RFC 9112 7.1)");
          left_ = left_ << 4U | static_cast<unsigned>(value);
        } else if (c == '\r') {
          state_ = State::size_lf;
        } else if (c == ';') {
          state_ = State::extension;
        } else {
          return fail("invalid chunk size (RFC 9112 7.1)");
        }
        ++at;
        break;
      }
      case State::extension:
        if (c == '\r') {
          state_ = State::size_lf;
        } else if (!is(c, kQuoted)) {
          return fail("invalid chunk extension (RFC 9112 7.1.1)");
        } else if (++extension_bytes_ > kExtensionMaxBytes) {
          return fail("chunk extension too long (RFC 9112 7.1.1)");
        }
        ++at;
        break;
      case State::size_lf:
        if (c != '\n') return fail("bare CR in a chunk line (RFC 9112 2.2)");
        state_ = left_ == 0 ? State::trailer_start : State::data;
        ++at;
        break;
      case State::data: {
        const auto take =
            static_cast<std::size_t>(std::min<std::uint64_t>(left_, static_cast<std::uint64_t>(end - at)));
        if (data_begin == nullptr) {
          data_begin = data_end = at;
        } else if (data_end != at) {
          std::memmove(data_end, at, take);
        }
        data_end += take;
        at += take;
        left_ -= take;
        if (left_ == 0) state_ = State::data_cr;
        break;
      }
      case State::data_cr:
        if (c != '\r') return fail("no CRLF after chunk data (RFC 9112 7.1)");
        state_ = State::data_lf;
        ++at;
        break;
      case State::data_lf:
        if (c != '\n') return fail("no CRLF after chunk data (RFC 9112 7.1)");
        state_ = State::size;
        ++at;
        break;
      case State::trailer_start:
        if (c == '\r') {
          if (!trailers_.empty()) trailers_ += c;
          state_ = State::end_lf;
          ++at;
        } else {
          state_ = State::trailer_line;
        }
        break;
      case State::trailer_line: {
        const auto* lf = static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
        char* line_end = lf == nullptr ? end : at + (lf - at) + 1;
        trailers_.append(at, line_end);
        if (trailers_.size() > trailer_max_bytes_) return fail("trailer section too large", ErrorKind::head_too_large);
        at = line_end;
        if (lf != nullptr) state_ = State::trailer_start;
        break;
      }
      case State::end_lf:
        if (c != '\n') return fail("bare CR after the last chunk (RFC 9112 2.2)");
        if (!trailers_.empty()) trailers_ += c;
        ++at;
        state_ = State::done;
        return result(true);
      case State::done:
        return fail("decode after the end");
    }
  }
  return result(false);
}

}  // namespace dao::http::h1
