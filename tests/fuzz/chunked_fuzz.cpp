// Any bytes as a chunked body, in any split: the same data, the same end or the same refusal as in one piece, and as an
// independent decoder written for nothing but plainness says. What was read, encoded again, is read the same.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "dao/http/h1/chunked_decoder.h"
#include "dao/http/h1/message_io.h"
#include "oracle.h"

using namespace dao;
using http::h1::ChunkedDecoder;

namespace {

constexpr std::size_t kTrailerMax = 512;

struct Outcome {
  bool refused = false;
  bool done = false;
  std::string data;
  std::size_t consumed = 0;
  std::string trailers;
};

// `splits` says how many bytes each call gets.
Outcome decode(std::string_view input, std::string_view splits) {
  ChunkedDecoder decoder(Origin::client, kTrailerMax);
  Outcome out;
  std::size_t call = 0;
  while (out.consumed < input.size()) {
    std::size_t take = input.size() - out.consumed;
    if (!splits.empty()) {
      const auto wanted = static_cast<unsigned char>(splits[call++ % splits.size()]) % 24U + 1U;
      take = std::min<std::size_t>(take, wanted);
    }
    std::string part{input.substr(out.consumed, take)};
    const Result<ChunkedDecoder::Step> step = decoder.decode(part);
    if (!step) {
      out.refused = true;
      return out;
    }
    fuzz::check(step->consumed <= part.size(), "no more consumed than given");
    fuzz::check(step->done || step->consumed == part.size(), "only the end leaves bytes");
    out.data.append(step->data.data(), step->data.size());
    out.consumed += step->consumed;
    if (step->done) {
      out.done = true;
      out.trailers = decoder.trailer_section();
      return out;
    }
  }
  return out;
}

// RFC 9112 section 7.1, over a whole input, line by line. Nothing: refused, or not the whole body.
std::optional<Outcome> plainly(std::string_view input) {
  Outcome out;
  const auto line = [&]() -> std::optional<std::string_view> {
    const std::size_t end = input.find("\r\n", out.consumed);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view text = input.substr(out.consumed, end - out.consumed);
    out.consumed = end + 2;
    return text;
  };
  for (;;) {
    const std::optional<std::string_view> size_line = line();
    if (!size_line) return std::nullopt;
    const std::size_t semicolon = size_line->find(';');
    const std::string digits{size_line->substr(0, semicolon)};
    if (digits.empty() || digits.size() > 16 ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      return std::nullopt;
    }
    if (semicolon != std::string_view::npos) {
      const std::string_view extension = size_line->substr(semicolon + 1);
      if (extension.size() > 1024) return std::nullopt;
      for (const char c : extension) {
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return std::nullopt;
      }
    }
    const std::uint64_t size = std::strtoull(digits.c_str(), nullptr, 16);
    if (size >= 1ULL << 63U) return std::nullopt;
    if (size == 0) break;
    if (input.size() - out.consumed < size) return std::nullopt;
    out.data += input.substr(out.consumed, size);
    out.consumed += size;
    if (input.substr(out.consumed, 2) != "\r\n") return std::nullopt;
    out.consumed += 2;
  }
  // Trailer lines end with LF here; that they must end with CRLF is for who reads the fields.
  for (;;) {
    if (input.substr(out.consumed, 1) == "\r") {
      if (input.substr(out.consumed, 2) != "\r\n") return std::nullopt;
      if (!out.trailers.empty()) out.trailers += "\r\n";
      out.consumed += 2;
      out.done = true;
      return out;
    }
    const std::size_t end = input.find('\n', out.consumed);
    if (end == std::string_view::npos) return std::nullopt;
    out.trailers += input.substr(out.consumed, end + 1 - out.consumed);
    if (out.trailers.size() > kTrailerMax) return std::nullopt;
    out.consumed = end + 1;
  }
}

std::string encode(std::string_view data, std::string_view splits) {
  http::h1::ChunkedEncoder encoder;
  std::string text;
  std::size_t at = 0;
  std::size_t call = 0;
  do {
    std::size_t take = data.size() - at;
    if (!splits.empty()) take = std::min<std::size_t>(take, static_cast<unsigned char>(splits[call++ % splits.size()]));
    std::vector<iovec> pieces;
    const bool last = at + take == data.size();
    if (take > 0 || last) encoder.encode({data.substr(at, take), last}, {}, pieces);
    for (const iovec& piece : pieces) text.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    at += take;
    if (last) break;
  } while (call < 100000);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // The first bytes choose the splits, the rest is the body.
  const std::string_view all{reinterpret_cast<const char*>(data), size};
  const std::size_t choices =
      std::min<std::size_t>(all.size(), all.empty() ? 0 : static_cast<unsigned char>(all[0]) % 8U + 1U);
  const std::string_view splits = all.substr(0, choices);
  const std::string_view input = all.substr(choices);

  const Outcome whole = decode(input, {});
  const Outcome split = decode(input, splits);
  fuzz::check(whole.refused == split.refused && whole.done == split.done, "the split does not change the outcome");
  if (!whole.refused) {
    fuzz::check(whole.data == split.data && whole.consumed == split.consumed && whole.trailers == split.trailers,
                "the split does not change what was read");
  }
  const std::optional<Outcome> plain = plainly(input);
  fuzz::check(plain.has_value() == whole.done, "both decoders agree on what is a whole body");
  if (!plain) return 0;
  fuzz::check(plain->data == whole.data && plain->consumed == whole.consumed && plain->trailers == whole.trailers,
              "both decoders read the same");

  if (splits.find('\0') != std::string_view::npos) return 0;  // a piece of nothing would not end
  const std::string text = encode(whole.data, splits);
  const Outcome again = decode(text, splits);
  fuzz::check(again.done && again.data == whole.data && again.consumed == text.size(), "encoded and read again");
  return 0;
}
