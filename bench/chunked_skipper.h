// Walks a chunked body (RFC 9112 section 7.1) without keeping it: the bench programs only need to know where it ends.
// Tolerant of chunk extensions and trailers, strict about sizes and line ends. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dao::bench {

class ChunkedSkipper {
 public:
  [[nodiscard]] bool done() const { return state_ == State::kDone; }
  [[nodiscard]] bool bad() const { return state_ == State::kBad; }
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }

  // Consumes up to the end of the body and returns how many bytes of `data` belonged to it.
  std::size_t consume(std::string_view data) {
    std::size_t at = 0;
    while (at < data.size() && !done() && !bad()) {
      if (state_ == State::kData) {
        const auto take = std::min<std::uint64_t>(left_, data.size() - at);
        at += take;
        left_ -= take;
        body_bytes_ += take;
        if (left_ == 0) state_ = State::kDataCr;
      } else {
        step(data[at++]);
      }
    }
    return at;
  }

 private:
  enum class State : std::uint8_t {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailer,
    kTrailerLine,
    kTrailerLf,
    kEndLf,
    kDone,
    kBad
  };

  static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  }

  void expect(char c, char wanted, State next) { state_ = c == wanted ? next : State::kBad; }

  void step(char c) {
    switch (state_) {
      case State::kSize:
        if (const int digit = hex_value(c); digit >= 0 && left_ < (1ULL << 56)) {
          left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
          ++digits_;
        } else if (digits_ == 0) {
          state_ = State::kBad;
        } else if (c == '\r') {
          state_ = State::kSizeLf;
        } else {
          state_ = c == ';' || c == ' ' || c == '\t' ? State::kExtension : State::kBad;
        }
        break;
      case State::kExtension:
        if (c == '\r') state_ = State::kSizeLf;
        break;
      case State::kSizeLf:
        digits_ = 0;
        expect(c, '\n', left_ == 0 ? State::kTrailer : State::kData);
        break;
      case State::kDataCr:
        expect(c, '\r', State::kDataLf);
        break;
      case State::kDataLf:
        expect(c, '\n', State::kSize);
        break;
      case State::kTrailer:
        state_ = c == '\r' ? State::kEndLf : State::kTrailerLine;
        break;
      case State::kTrailerLine:
        if (c == '\r') state_ = State::kTrailerLf;
        break;
      case State::kTrailerLf:
        expect(c, '\n', State::kTrailer);
        break;
      case State::kEndLf:
        expect(c, '\n', State::kDone);
        break;
      case State::kData:
      case State::kDone:
      case State::kBad:
        break;
    }
  }

  State state_ = State::kSize;
  int digits_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t body_bytes_ = 0;
};

}  // namespace dao::bench
