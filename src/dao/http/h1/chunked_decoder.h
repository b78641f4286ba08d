// Decoding the chunked transfer coding (RFC 9112 section 7.1) in place: the data of all chunks found in one buffer is
// moved together, so the caller gets one contiguous piece whatever the chunk sizes. A single chunk is not moved at all.
//
// Strict: chunk-size is 1 to 16 hex digits below 2^63, lines end with CRLF, extensions are dropped and bounded.
// One thread; complexity linear in the input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "dao/base/error.h"

namespace dao::http::h1 {

class ChunkedDecoder {
 public:
  struct Step {
    std::size_t consumed = 0;    // bytes of the input that are done with, framing included
    std::span<const char> data;  // within the input; valid as long as that
    bool done = false;           // the last chunk and the trailer section were read
  };

  ChunkedDecoder() = default;
  ChunkedDecoder(Origin origin, std::size_t trailer_max_bytes)
      : origin_(origin), trailer_max_bytes_(trailer_max_bytes) {}

  // May be called with any split of the input. After an error or `done` it must not be called again.
  Result<Step> decode(std::span<char> input);

  // Bytes of the current chunk that are announced and not yet seen.
  [[nodiscard]] std::uint64_t announced() const { return left_; }

  // Whole lines of the trailer section with the final empty line; empty if there was none. After `done`.
  [[nodiscard]] std::string_view trailer_section() const { return trailers_; }

 private:
  enum class State : std::uint8_t {
    size,
    size_digits,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_line,
    end_lf,
    done
  };

  static constexpr std::size_t kExtensionMaxBytes = 1024;

  [[nodiscard]] std::unexpected<Error> fail(std::string_view rule, ErrorKind kind = ErrorKind::malformed) const {
    return std::unexpected(Error{.origin = origin_, .kind = kind, .detail = rule});
  }

  Origin origin_ = Origin::client;
  State state_ = State::size;
  unsigned digits_ = 0;
  std::size_t extension_bytes_ = 0;
  std::uint64_t left_ = 0;  // of the current chunk
  std::size_t trailer_max_bytes_ = 32768;
  std::string trailers_;
};

}  // namespace dao::http::h1
