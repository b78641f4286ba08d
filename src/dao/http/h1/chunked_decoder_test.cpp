// The chunked transfer coding (RFC 9112 section 7.1), read as strictly as docs say and from any split of the input.
#include "dao/http/h1/chunked_decoder.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

namespace dao::http::h1 {
namespace {

struct Decoded {
  bool ok = true;
  bool done = false;
  ErrorKind error = ErrorKind::none;
  std::string data;
  std::string trailers;
  std::size_t consumed = 0;

  friend bool operator==(const Decoded&, const Decoded&) = default;
};

// Feeds the pieces as a connection does: what a call leaves unread is put before the next piece.
Decoded decode(const std::vector<std::string>& pieces, std::size_t trailer_max = 1024) {
  ChunkedDecoder decoder(Origin::client, trailer_max);
  Decoded out;
  for (const std::string& piece : pieces) {
    std::string input = piece;
    const Result<ChunkedDecoder::Step> step = decoder.decode(input);
    if (!step) {
      out.ok = false;
      out.error = step.error().kind;
      return out;
    }
    out.data.append(step->data.data(), step->data.size());
    out.consumed += step->consumed;
    if (step->done) {
      out.done = true;
      out.trailers = decoder.trailer_section();
      return out;
    }
    EXPECT_EQ(step->consumed, input.size()) << "only the end leaves bytes unread";
  }
  return out;
}

std::vector<std::string> bytes_of(const std::string& text) {
  std::vector<std::string> pieces;
  for (const char c : text) pieces.emplace_back(1, c);
  return pieces;
}

struct Valid {
  const char* name;
  std::string input;
  std::string data;
  std::string trailers = "";
  std::size_t after = 0;  // bytes of the input that belong to the next message
};

std::vector<Valid> valid() {
  return {
      {"empty body (7.1)", "0\r\n\r\n", ""},
      {"one chunk (7.1)", "5\r\nhello\r\n0\r\n\r\n", "hello"},
      {"several chunks (7.1)", "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef"},
      {"hex in any case (7.1)", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
      {"leading zeros (7.1)", "0005\r\nhello\r\n000\r\n\r\n", "hello"},
      {"sixteen digits (7.1)", "0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"},
      {"data that looks like framing (7.1)", "7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n"},
      {"extension (7.1.1)", "3;a=b\r\nabc\r\n0;last\r\n\r\n", "abc"},
      {"extension without a name (7.1.1)", "3;\r\nabc\r\n0\r\n\r\n", "abc"},
      {"quoted extension (7.1.1)", "3;a=\"b;\tc\"\r\nabc\r\n0\r\n\r\n", "abc"},
      {"obs-text in an extension (7.1.1)", "3;a=\xff\r\nabc\r\n0\r\n\r\n", "abc"},
      {"longest extension", "3;" + std::string(1024, 'e') + "\r\nabc\r\n0\r\n\r\n", "abc"},
      {"trailer (7.1.2)", "3\r\nabc\r\n0\r\nX: 1\r\nY: 2\r\n\r\n", "abc", "X: 1\r\nY: 2\r\n\r\n"},
      {"next message untouched (6.3)", "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "abc", "", 16},
  };
}

TEST(ChunkedDecoder, ReadsTheBodyFromEverySplit) {
  for (const Valid& sample : valid()) {
    SCOPED_TRACE(sample.name);
    const Decoded want{
        .done = true, .data = sample.data, .trailers = sample.trailers, .consumed = sample.input.size() - sample.after};
    EXPECT_EQ(decode({sample.input}), want) << "in one piece";
    EXPECT_EQ(decode(bytes_of(sample.input)), want) << "byte by byte";
    for (std::size_t at = 1; at < sample.input.size(); ++at) {
      EXPECT_EQ(decode({sample.input.substr(0, at), sample.input.substr(at)}), want) << "split at " << at;
    }
    for (std::size_t cut = 0; cut < sample.input.size() - sample.after; ++cut) {
      const Decoded cut_short = decode({sample.input.substr(0, cut)});
      EXPECT_TRUE(cut_short.ok && !cut_short.done) << "cut at " << cut;
    }
  }
}

struct Refused {
  const char* name;
  std::string input;
  ErrorKind kind = ErrorKind::malformed;
};

std::vector<Refused> refused() {
  return {
      {"no size (7.1)", "\r\nabc\r\n"},
      {"size not hex (7.1)", "g\r\n"},
      {"0x before the size (7.1)", "0x3\r\nabc\r\n0\r\n\r\n"},
      {"signed size (7.1)", "+3\r\nabc\r\n0\r\n\r\n"},
      {"negative size (7.1)", "-3\r\nabc\r\n0\r\n\r\n"},
      {"underscore in the size (7.1)", "1_0\r\n"},
      {"space before the size (7.1)", " 3\r\nabc\r\n0\r\n\r\n"},
      {"space after the size (7.1.1)", "3 \r\nabc\r\n0\r\n\r\n"},
      {"tab after the size (7.1.1)", "3\t;a\r\nabc\r\n0\r\n\r\n"},
      {"comma in the size (7.1)", "3,3\r\nabc\r\n0\r\n\r\n"},
      {"NUL in the size (7.1)", std::string("3\0\r\nabc\r\n0\r\n\r\n", 14)},
      {"size of 2^63 (7.1)", "8000000000000000\r\n"},
      {"size of 2^64 (7.1)", "10000000000000000\r\n"},
      {"seventeen digits (7.1)", "00000000000000003\r\nabc\r\n"},
      {"bare LF after the size (2.2)", "3\nabc\r\n0\r\n\r\n"},
      {"bare CR after the size (2.2)", "3\rabc\r\n0\r\n\r\n"},
      {"CR CR LF after the size (2.2)", "3\r\r\nabc\r\n0\r\n\r\n"},
      {"bare LF in an extension (7.1.1)", "3;a\nabc\r\n0\r\n\r\n"},
      {"bare CR in an extension (7.1.1)", "3;a\rb\r\nabc\r\n0\r\n\r\n"},
      {"CR within a quoted extension (7.1.1)", "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n"},
      {"control byte in an extension (7.1.1)", "3;a=\x01\r\nabc\r\n0\r\n\r\n"},
      {"endless extension", "3;" + std::string(1025, 'e')},
      {"data longer than said (7.1)", "3\r\nabcd\r\n0\r\n\r\n"},
      {"data shorter than said (7.1)", "4\r\nabc\r\n0\r\n\r\n"},
      {"bare LF after data (2.2)", "3\r\nabc\n0\r\n\r\n"},
      {"bare CR after data (2.2)", "3\r\nabc\r0\r\n\r\n"},
      {"bare CR at the end (2.2)", "0\r\n\rX"},
      {"endless trailer", "0\r\n" + std::string(1025, 't'), ErrorKind::head_too_large},
      {"endless trailers", "0\r\n" + std::string(400, 't') + "\r\n" + std::string(700, 'u'), ErrorKind::head_too_large},
  };
}

TEST(ChunkedDecoder, RefusesWhatTwoReadersCouldReadDifferently) {
  for (const Refused& sample : refused()) {
    SCOPED_TRACE(sample.name);
    for (const std::vector<std::string>& pieces : {std::vector{sample.input}, bytes_of(sample.input)}) {
      const Decoded decoded = decode(pieces);
      EXPECT_FALSE(decoded.ok);
      EXPECT_EQ(decoded.error, sample.kind);
    }
  }
}

TEST(ChunkedDecoder, GathersManyChunksIntoOnePieceOfTheInput) {
  std::string input = "1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n";
  ChunkedDecoder decoder;
  const Result<ChunkedDecoder::Step> step = decoder.decode(input);
  ASSERT_TRUE(step);
  EXPECT_EQ(std::string(step->data.data(), step->data.size()), "abcd");
  EXPECT_GE(step->data.data(), input.data());
  EXPECT_LE(step->data.data() + step->data.size(), input.data() + input.size());
}

TEST(ChunkedDecoder, DoesNotMoveASingleChunk) {
  std::string input = "5\r\nhello\r\n";
  ChunkedDecoder decoder;
  const Result<ChunkedDecoder::Step> step = decoder.decode(input);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->data.data(), input.data() + 3);
}

TEST(ChunkedDecoder, TellsWhatIsAnnounced) {
  std::string input = "ff\r\nabc";
  ChunkedDecoder decoder;
  ASSERT_TRUE(decoder.decode(input));
  EXPECT_EQ(decoder.announced(), 252U);
}

}  // namespace
}  // namespace dao::http::h1
