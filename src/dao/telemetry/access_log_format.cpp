#include "dao/telemetry/access_log_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <tuple>

#include "dao/base/utc_text.h"
#include "dao/base/utf8.h"

namespace dao::telemetry {
namespace {

static_assert(std::endian::native == std::endian::little, "special_bytes() looks for the lowest byte first");

// --- Text ---------------------------------------------------------------------------------------------------------

constexpr std::size_t kWorstEscape = 6;  // \u00XX

constexpr std::uint64_t every_byte(std::uint64_t byte) {
  return byte * 0x0101010101010101U;
}

// Bit 7 of each byte that cannot be copied as it is: below 0x20, '"', '\', 0x7f and above. Bytes above the lowest such
// byte may be reported wrongly (the borrow of a subtraction); only the lowest one is looked at.
constexpr std::uint64_t special_bytes(std::uint64_t eight) {
  const auto zero_bytes = [](std::uint64_t v) { return (v - every_byte(1)) & ~v; };
  const std::uint64_t control = (eight - every_byte(0x20)) & ~eight;
  const std::uint64_t quote = zero_bytes(eight ^ every_byte('"'));
  const std::uint64_t slash = zero_bytes(eight ^ every_byte('\\'));
  const std::uint64_t del = zero_bytes(eight ^ every_byte(0x7f));
  return (control | quote | slash | del | eight) & every_byte(0x80);
}

// Up to seven bytes, the rest filled up with plain ones.
std::uint64_t load_short(const char* in, std::size_t size) {
  std::uint64_t bytes = 0;
  if (size >= 4) {  // two halves that overlap
    std::uint32_t first;
    std::uint32_t last;
    std::memcpy(&first, in, 4);
    std::memcpy(&last, in + size - 4, 4);
    bytes = first | (std::uint64_t{last} << (8 * (size - 4)));
  } else {
    for (std::size_t i = 0; i < size; ++i) bytes |= std::uint64_t{static_cast<unsigned char>(in[i])} << (8 * i);
  }
  return bytes | (every_byte('a') << (8 * size));
}

constexpr char kHexLower[] = "0123456789abcdef";
constexpr char kHexUpper[] = "0123456789ABCDEF";

struct Escaped {
  std::size_t taken;
  char* out;
};

// What stands for the special byte that `rest` begins with.
struct JsonEscape {
  static Escaped write(std::string_view rest, char* out) {
    const auto byte = static_cast<unsigned char>(rest[0]);
    const std::size_t length = byte < 0x80 ? 0 : utf8_sequence(rest);
    if (length > 0) return {length, std::copy_n(rest.data(), length, out)};
    *out++ = '\\';
    switch (rest[0]) {
      case '"':
        *out++ = '"';
        break;
      case '\\':
        *out++ = '\\';
        break;
      case '\n':
        *out++ = 'n';
        break;
      case '\r':
        *out++ = 'r';
        break;
      case '\t':
        *out++ = 't';
        break;
      default:
        *out++ = 'u';
        *out++ = '0';
        *out++ = '0';
        *out++ = kHexLower[byte >> 4U];
        *out++ = kHexLower[byte & 15U];
    }
    return {1, out};
  }
};

struct CombinedEscape {
  static Escaped write(std::string_view rest, char* out) {
    const auto byte = static_cast<unsigned char>(rest[0]);
    *out++ = '\\';
    *out++ = 'x';
    *out++ = kHexUpper[byte >> 4U];
    *out++ = kHexUpper[byte & 15U];
    return {1, out};
  }
};

// Writes `text` escaped; `out` has kWorstEscape bytes for each of its bytes and eight more. Plain text goes eight bytes
// at a time.
template <class Escape>
char* put_text(char* out, std::string_view text) {
  const char* in = text.data();
  std::size_t left = text.size();
  while (left > 0) {
    std::uint64_t bytes;
    if (left >= 8) {
      std::memcpy(&bytes, in, 8);
    } else {
      bytes = load_short(in, left);
    }
    std::memcpy(out, &bytes, 8);
    const std::uint64_t special = special_bytes(bytes);
    const auto plain =
        special == 0 ? std::min<std::size_t>(left, 8) : static_cast<std::size_t>(std::countr_zero(special)) / 8;
    in += plain;
    out += plain;
    left -= plain;
    if (special == 0) [[likely]] {
      continue;
    }
    const Escaped escaped = Escape::write({in, left}, out);
    in += escaped.taken;
    left -= escaped.taken;
    out = escaped.out;
  }
  return out;
}

// --- Numbers ------------------------------------------------------------------------------------------------------

constexpr std::size_t kLongestNumber = 24;  // 20 digits and a fraction of three

char* put_number(char* out, std::uint64_t number) {
  return std::to_chars(out, out + kLongestNumber, number).ptr;
}

char* put_three_digits(char* out, std::uint64_t number) {
  out[0] = static_cast<char>('0' + number / 100 % 10);
  out[1] = static_cast<char>('0' + number / 10 % 10);
  out[2] = static_cast<char>('0' + number % 10);
  return out + 3;
}

char* put_milliseconds(char* out, std::uint64_t nanoseconds) {
  const std::uint64_t microseconds = nanoseconds / 1000;
  out = put_number(out, microseconds / 1000);
  *out++ = '.';
  return put_three_digits(out, microseconds % 1000);
}

// --- The table of fields ------------------------------------------------------------------------------------------

// What a field's getter returns decides how it is written, and when it is left out.
struct Time {};  // the record's start; always
struct Text {
  std::string_view value;
};  // left out when empty
struct Count {
  std::uint64_t value;
};  // always
struct Port {
  std::uint16_t value;
};  // left out when 0
struct Duration {
  std::uint64_t nanoseconds;
};  // milliseconds; left out when not measured
struct Flag {
  bool value;
};  // always

template <std::size_t N>
struct Key {
  consteval Key(const char (&text)[N]) { std::copy_n(text, N, chars); }  // NOLINT(google-explicit-constructor)
  [[nodiscard]] constexpr std::string_view view() const { return {chars, N - 1}; }
  char chars[N] = {};
};

template <Key kKey, class Get>
struct Field {
  using Kind = std::invoke_result_t<Get, const RequestRecord&>;
  Get get;
  std::string_view help;

  static constexpr std::string_view name() { return kKey.view(); }
  // `,"key":`, the first field's without comma and opening the object.
  static constexpr std::size_t kLabelSize = kKey.view().size() + 4;
  static consteval std::array<char, kLabelSize> label() {
    std::array<char, kLabelSize> text{};
    text[0] = std::same_as<Kind, Time> ? '{' : ',';
    text[1] = '"';
    std::ranges::copy(kKey.view(), text.begin() + 2);
    text[kLabelSize - 2] = '"';
    text[kLabelSize - 1] = ':';
    return text;
  }
};

template <Key kKey, class Get>
consteval auto field(Get get, std::string_view help) {
  return Field<kKey, Get>{get, help};
}

using R = RequestRecord;

constexpr std::tuple kFields{
    field<"time">([](const R&) { return Time{}; },
                  "When the first byte of the request head came, RFC 3339, UTC, milliseconds."),
    field<"client">([](const R& r) { return Text{r.client_address}; }, "Address of the peer."),
    field<"client_port">([](const R& r) { return Port{r.client_port}; }, "Its port."),
    field<"method">([](const R& r) { return Text{r.method}; }, "Request method, as sent."),
    field<"host">([](const R& r) { return Text{r.host}; }, "Host the request is for (RFC 9112 section 3.3)."),
    field<"target">([](const R& r) { return Text{r.target}; }, "Request target, as sent."),
    field<"protocol">([](const R& r) { return Text{r.protocol}; }, "Protocol of the request: `HTTP/1.1`."),
    field<"status">([](const R& r) { return Count{r.status}; },
                    "Status sent to the client; 499 if it was gone before one could be sent."),
    field<"grpc_status">([](const R& r) { return Text{r.grpc_status}; },
                         "How a gRPC call ended: the name of the status that the client got."),
    field<"request_bytes">([](const R& r) { return Count{r.request_bytes}; },
                           "Bytes of the request body, without framing."),
    field<"response_bytes">([](const R& r) { return Count{r.response_bytes}; },
                            "Bytes of the response body sent, without framing."),
    field<"duration_ms">([](const R& r) { return Duration{r.duration_ns}; },
                         "From the first byte of the request head to the last byte of the response, or to giving up."),
    field<"route">([](const R& r) { return Text{r.route}; }, "Name of the rule that matched."),
    field<"generation">([](const R& r) { return Count{r.generation}; },
                        "Number of the configuration that the request began with (daoctl config status)."),
    field<"upstream">([](const R& r) { return Text{r.upstream}; }, "Upstream of the last attempt."),
    field<"upstream_address">([](const R& r) { return Text{r.upstream_address}; }, "Address of the last attempt."),
    field<"attempts">([](const R& r) { return Count{r.attempts}; }, "Attempts with upstreams; 0: none was asked."),
    field<"queue_ms">([](const R& r) { return Duration{r.queue_ns}; },
                      "Time spent waiting for an upstream below its max_in_flight; absent if it did not wait."),
    field<"connect_ms">([](const R& r) { return Duration{r.connect_ns}; },
                        "Time to connect, last attempt; absent on a reused connection."),
    field<"head_ms">([](const R& r) { return Duration{r.head_ns}; },
                     "From sending the request to the upstream's response head, last attempt."),
    field<"reused">([](const R& r) { return Flag{r.reused}; },
                    "Whether the client's connection had carried a request before."),
    field<"error">([](const R& r) { return Text{r.error}; }, "What failed, by its Proxy-Status name (RFC 9209)."),
    field<"error_detail">([](const R& r) { return Text{r.error_detail}; }, "The rule that was broken, or the cause."),
    field<"referer">([](const R& r) { return Text{r.referer}; }, "Referer field."),
    field<"user_agent">([](const R& r) { return Text{r.user_agent}; }, "User-Agent field."),
    field<"trace_id">([](const R& r) { return Text{r.trace_id}; }, "Trace id of the W3C traceparent."),
};

template <class Visit>
constexpr void for_each_field(Visit visit) {
  std::apply([&visit](const auto&... fields) { (visit(fields), ...); }, kFields);
}

consteval std::size_t json_size_without_text() {
  std::size_t size = 2 + 8;  // "}\n", and what put_text() writes beyond its end
  for_each_field([&size](const auto& f) { size += f.kLabelSize + kLongestNumber + 2; });
  return size;
}

// Date and hour of both formats.
constexpr std::size_t kSecondTextSize = 32;
// client, " - - [", time, "] \"", the request line's spaces, "\" ", status, bytes, quotes, newline.
constexpr std::size_t kCombinedWithoutText = 8 + 6 + kSecondTextSize + 3 + 2 + 2 + 4 + kLongestNumber + 8;
constexpr std::size_t kWithoutText = std::max(json_size_without_text(), kCombinedWithoutText);

template <class Kind>
char* put_value(char* out, Kind value) {
  if constexpr (std::same_as<Kind, Text>) {
    *out++ = '"';
    out = put_text<JsonEscape>(out, value.value);
    *out++ = '"';
  } else if constexpr (std::same_as<Kind, Duration>) {
    out = put_milliseconds(out, value.nanoseconds);
  } else if constexpr (std::same_as<Kind, Flag>) {
    const std::string_view word = value.value ? "true" : "false";
    out = std::copy(word.begin(), word.end(), out);
  } else {
    out = put_number(out, value.value);
  }
  return out;
}

bool is_absent(Text text) {
  return text.value.empty();
}
bool is_absent(Port port) {
  return port.value == 0;
}
bool is_absent(Duration duration) {
  return duration.nanoseconds == RequestRecord::kNotMeasured;
}
bool is_absent(Count) {
  return false;
}
bool is_absent(Flag) {
  return false;
}

char* put_combined(char* out, std::string_view text) {
  if (text.empty()) {
    *out++ = '-';
    return out;
  }
  return put_text<CombinedEscape>(out, text);
}

char* put_literal(char* out, std::string_view text) {
  return std::copy(text.begin(), text.end(), out);
}

// For the reference page: how a kind is written, and when it is left out.
template <class Kind>
constexpr std::string_view kind_text() {
  if constexpr (std::same_as<Kind, Time> || std::same_as<Kind, Text>) return "string";
  if constexpr (std::same_as<Kind, Duration>) return "number (ms)";
  if constexpr (std::same_as<Kind, Flag>) return "boolean";
  return "number";
}
template <class Kind>
constexpr std::string_view presence_text() {
  if constexpr (std::same_as<Kind, Text> || std::same_as<Kind, Port>) return "if known";
  if constexpr (std::same_as<Kind, Duration>) return "if measured";
  return "always";
}

}  // namespace

std::optional<AccessLogFormat> parse_access_log_format(std::string_view text) {
  if (text == "json") return AccessLogFormat::json;
  if (text == "combined") return AccessLogFormat::combined;
  return std::nullopt;
}

std::size_t AccessLogFormatter::max_size(const RequestRecord& record) {
  std::size_t text = 0;
  for_each_field([&](const auto& f) {
    const auto value = f.get(record);
    if constexpr (std::same_as<decltype(value), const Text>) text += value.value.size();
  });
  return kWithoutText + kWorstEscape * text;
}

char* AccessLogFormatter::format(const RequestRecord& record, char* out) {
  const auto second = std::chrono::floor<std::chrono::seconds>(record.start);
  if (const std::int64_t count = second.time_since_epoch().count(); count != second_) set_second(count);
  const auto millisecond =
      static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(record.start - second).count());
  return format_ == AccessLogFormat::json ? json(record, millisecond, out) : combined(record, out);
}

void AccessLogFormatter::set_second(std::int64_t second) {
  const char* const form = format_ == AccessLogFormat::json ? "%Y-%m-%dT%H:%M:%S" : "%d/%b/%Y:%H:%M:%S +0000";
  second_size_ = utc_text(WallTime{std::chrono::seconds(second)}, form, second_text_);
  second_ = second;
}

char* AccessLogFormatter::json(const RequestRecord& record, std::uint64_t millisecond, char* out) {
  for_each_field([&](const auto& f) {
    using F = std::remove_cvref_t<decltype(f)>;
    static constexpr auto kLabel = F::label();
    const auto value = f.get(record);
    if constexpr (std::same_as<typename F::Kind, Time>) {
      out = std::copy(kLabel.begin(), kLabel.end(), out);
      *out++ = '"';
      std::memcpy(out, second_text_, sizeof second_text_);
      out += second_size_;
      *out++ = '.';
      out = put_three_digits(out, millisecond);
      out = put_literal(out, "Z\"");
    } else if (!is_absent(value)) {
      std::memcpy(out, kLabel.data(), kLabel.size());
      out = put_value(out + kLabel.size(), value);
    }
  });
  return put_literal(out, "}\n");
}

char* AccessLogFormatter::combined(const RequestRecord& record, char* out) {
  out = put_combined(out, record.client_address);
  out = put_literal(out, " - - [");
  std::memcpy(out, second_text_, sizeof second_text_);
  out += second_size_;
  out = put_literal(out, "] \"");
  out = put_combined(out, record.method);
  if (!record.method.empty()) {
    *out++ = ' ';
    out = put_combined(out, record.target);
    *out++ = ' ';
    out = put_combined(out, record.protocol);
  }
  out = put_literal(out, "\" ");
  out = put_three_digits(out, record.status);
  *out++ = ' ';
  out = put_number(out, record.response_bytes);
  out = put_literal(out, " \"");
  out = put_combined(out, record.referer);
  out = put_literal(out, "\" \"");
  out = put_combined(out, record.user_agent);
  return put_literal(out, "\"\n");
}

std::string render_access_log_reference() {
  std::string page =
      "# Access log\n"
      "\n"
      "<!-- Generated from the table in src/dao/telemetry/access_log_format.cpp; do not edit. -->\n"
      "\n"
      "One line per finished request, written by a thread of its own; a worker never waits for it. A line that finds "
      "no\n"
      "room in its worker's buffer (`telemetry.access_log.buffer_bytes`) is dropped and counted in\n"
      "`dao_access_log_dropped_total`. Lines reach the file within 0.2 s, in the order of each worker, not of all of "
      "them.\n"
      "For rotation rename the file and send SIGUSR1.\n"
      "\n"
      "## json\n"
      "\n"
      "One JSON object (RFC 8259) per line, fields in this order. Control characters are escaped; bytes that are not "
      "valid\n"
      "UTF-8 are read as Latin-1 and written `\\u00XX`.\n"
      "\n"
      "| field | type | present | meaning |\n"
      "|---|---|---|---|\n";
  for_each_field([&](const auto& f) {
    using F = std::remove_cvref_t<decltype(f)>;
    page += fmt::format("| `{}` | {} | {} | {} |\n", F::name(), kind_text<typename F::Kind>(),
                        presence_text<typename F::Kind>(), f.help);
  });
  page +=
      "\n"
      "## combined\n"
      "\n"
      "The combined format of Apache and nginx, times in UTC:\n"
      "\n"
      "    CLIENT - - [23/Nov/2026:03:21:00 +0000] \"METHOD TARGET PROTOCOL\" STATUS RESPONSE_BYTES \"REFERER\" "
      "\"USER_AGENT\"\n"
      "\n"
      "What is not known is `-`; the request line is `\"-\"` if no method could be read; a request that got no status "
      "has\n"
      "`000`. In all text `\"`, `\\`, control characters and bytes above 0x7e are written `\\xHH`, so that a client "
      "can neither\n"
      "end a field nor begin a line. The format has no place for the route, the upstream or an error: use json to see "
      "why a\n"
      "request failed.\n";
  return page;
}

}  // namespace dao::telemetry
