#include "dao/http/h1/head_parser.h"

#include <optional>

#include "dao/http/h1/syntax.h"
#include "dao/http/websocket_handshake.h"

namespace dao::http::h1 {

namespace {

constexpr std::size_t kMethodMaxBytes = 32;

struct Cursor {
  const char* at;
  const char* end;
  Origin origin;

  [[nodiscard]] bool empty() const { return at == end; }
  [[nodiscard]] std::unexpected<Error> fail(std::string_view rule, ErrorKind kind = ErrorKind::malformed) const {
    return std::unexpected(Error{.origin = origin, .kind = kind, .detail = rule});
  }
};

enum class Line : std::uint8_t { complete, incomplete };

std::string_view between(const char* from, const char* to) {
  return {from, static_cast<std::size_t>(to - from)};
}

// Expects CRLF at the cursor and steps over it.
Result<Line> end_of_line(Cursor& cursor) {
  if (cursor.end - cursor.at >= 2 && cursor.at[0] == '\r' && cursor.at[1] == '\n') {
    cursor.at += 2;
    return Line::complete;
  }
  if (cursor.empty()) return Line::incomplete;
  if (*cursor.at != '\r') {
    return cursor.fail(*cursor.at == '\n' ? "bare LF (RFC 9112 2.2)" : "invalid character in the head (RFC 9110 5.5)");
  }
  if (cursor.at + 1 == cursor.end) return Line::incomplete;
  return cursor.fail("bare CR (RFC 9112 2.2)");
}

Method identify_method(std::string_view text) {
  switch (text.size()) {
    case 3:
      if (text == "GET") return Method::get;
      if (text == "PUT") return Method::put;
      break;
    case 4:
      if (text == "HEAD") return Method::head;
      if (text == "POST") return Method::post;
      break;
    case 5:
      if (text == "PATCH") return Method::patch;
      if (text == "TRACE") return Method::trace;
      break;
    case 6:
      if (text == "DELETE") return Method::delete_;
      break;
    case 7:
      if (text == "OPTIONS") return Method::options;
      if (text == "CONNECT") return Method::connect;
      break;
    default:
      break;
  }
  return Method::other;
}

// host [":" port] without userinfo (RFC 9110 section 4.2.4, RFC 3986 section 3.2.2).
bool valid_authority(std::string_view text) {
  const char* const end = text.data() + text.size();
  const char* host_end = skip(text.data(), end, kRegName);
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    for (const char c : text.substr(1, close - 1)) {
      const char l = to_lower(c);
      if (!is_digit(c) && !(l >= 'a' && l <= 'f') && c != ':' && c != '.') return false;
    }
    host_end = text.data() + close + 1;
  }
  const std::string_view port{host_end, static_cast<std::size_t>(end - host_end)};
  if (port.empty()) return true;
  if (host_end == text.data() || port.front() != ':' || port.size() > 6) return false;
  unsigned number = 0;
  for (const char c : port.substr(1)) {
    if (!is_digit(c)) return false;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  return number <= 0xffff;
}

// "HTTP/1.0" or "HTTP/1.1"; other versions of HTTP are `version`, anything else malformed.
Result<std::uint8_t> parse_version(const Cursor& cursor, std::string_view text) {
  if (text == "HTTP/1.1") return std::uint8_t{1};
  if (text == "HTTP/1.0") return std::uint8_t{0};
  if (text.size() == 8 && text.starts_with("HTTP/") && is_digit(text[5]) && text[6] == '.' && is_digit(text[7])) {
    return cursor.fail("HTTP version (RFC 9110 15.6.6)", ErrorKind::version);
  }
  return cursor.fail("invalid HTTP version (RFC 9112 2.3)");
}

Result<> split_target(const Cursor& cursor, RequestHead& head) {
  const std::string_view target = head.target;
  if (head.method == Method::connect) return cursor.fail("CONNECT (RFC 9110 9.3.6)", ErrorKind::method_not_allowed);
  if (target.front() == '/') {
    head.path = target;
    return {};
  }
  if (target == "*") {
    if (head.method != Method::options) return cursor.fail("asterisk-form is for OPTIONS (RFC 9112 3.2.4)");
    head.path = target;
    return {};
  }
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return cursor.fail("invalid request target (RFC 9112 3.2)");
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) {
    return cursor.fail("scheme of the request target (RFC 9112 3.2.2)");
  }
  const std::string_view rest = target.substr(scheme_end + 3);
  const std::size_t authority_end = rest.find_first_of("/?");
  head.authority = rest.substr(0, authority_end);
  if (head.authority.find('@') != std::string_view::npos) return cursor.fail("userinfo (RFC 9110 4.2.4)");
  if (head.authority.empty() || !valid_authority(head.authority))
    return cursor.fail("invalid authority (RFC 9112 3.2.2)");
  head.absolute_form = true;
  if (authority_end == std::string_view::npos) {
    // RFC 9112 section 3.2.4: OPTIONS on an absolute form without a path asks about the server as a whole.
    head.path = head.method == Method::options ? "*" : "/";
  } else if (rest[authority_end] == '/') {
    head.path = rest.substr(authority_end);
  } else {
    char* path = head.arena.allocate(rest.size() - authority_end + 1);
    path[0] = '/';
    rest.substr(authority_end).copy(path + 1, rest.size() - authority_end);
    head.path = {path, rest.size() - authority_end + 1};
  }
  return {};
}

Result<Line> parse_request_line(Cursor& cursor, const HeadLimits& limits, RequestHead& head) {
  const char* method_begin = cursor.at;
  const char* method_end = skip(cursor.at, cursor.end, kToken);
  const auto method_size = static_cast<std::size_t>(method_end - method_begin);
  if (method_size > kMethodMaxBytes) return cursor.fail("method too long (RFC 9112 3)", ErrorKind::unsupported);
  if (method_end == cursor.end) return Line::incomplete;
  cursor.at = method_end;
  if (method_size == 0 || *method_end != ' ') return cursor.fail("invalid method (RFC 9112 3.1)");
  head.method_text = between(method_begin, method_end);
  head.method = identify_method(head.method_text);

  const char* target_begin = method_end + 1;
  const char* target_end = skip_target(target_begin, cursor.end);
  const auto target_size = static_cast<std::size_t>(target_end - target_begin);
  head.target = between(target_begin, target_end);
  if (target_size > limits.target_max_bytes) {
    head.target = head.target.substr(0, limits.target_max_bytes);
    return cursor.fail("request target too long", ErrorKind::target_too_large);
  }
  if (target_end == cursor.end) return Line::incomplete;
  cursor.at = target_end;
  if (target_size == 0 || *target_end != ' ') return cursor.fail("invalid request target (RFC 9112 3.2)");

  const char* version_begin = target_end + 1;
  const char* version_end = skip(version_begin, cursor.end, kTarget);
  if (version_end - version_begin > 8) return cursor.fail("invalid HTTP version (RFC 9112 2.3)");
  if (version_end == cursor.end) return Line::incomplete;
  cursor.at = version_end;
  const Result<std::uint8_t> version = parse_version(cursor, between(version_begin, version_end));
  if (!version) return std::unexpected(version.error());
  head.version_minor = *version;
  const Result<Line> line = end_of_line(cursor);
  if (!line || *line == Line::incomplete) return line;
  if (const Result<> split = split_target(cursor, head); !split) return std::unexpected(split.error());
  return Line::complete;
}

Result<Line> parse_status_line(Cursor& cursor, ResponseHead& head) {
  // HTTP/1.x SP 3DIGIT [SP reason]
  const auto have = static_cast<std::size_t>(cursor.end - cursor.at);
  constexpr std::string_view kPrefix = "HTTP/1.";
  for (std::size_t i = 0; i < kPrefix.size() && i < have; ++i) {
    if (cursor.at[i] != kPrefix[i]) return cursor.fail("not an HTTP/1 status line (RFC 9112 4)");
  }
  constexpr std::size_t kFixed = 12;  // "HTTP/1.1 200"
  if (have <= kFixed) return Line::incomplete;
  const char* at = cursor.at;
  if ((at[7] != '0' && at[7] != '1') || at[8] != ' ') return cursor.fail("invalid status line (RFC 9112 4)");
  head.version_minor = static_cast<std::uint8_t>(at[7] - '0');
  unsigned status = 0;
  for (std::size_t i = 9; i < kFixed; ++i) {
    if (!is_digit(at[i])) return cursor.fail("invalid status code (RFC 9110 15)");
    status = status * 10 + static_cast<unsigned>(at[i] - '0');
  }
  if (status < 100 || status > 599) return cursor.fail("status code out of range (RFC 9110 15)");
  head.status = static_cast<std::uint16_t>(status);
  cursor.at = at + kFixed;
  head.reason = {};
  if (*cursor.at == ' ') {
    const char* reason_begin = cursor.at + 1;
    cursor.at = skip_field_value(reason_begin, cursor.end);
    head.reason = between(reason_begin, cursor.at);
  }
  return end_of_line(cursor);
}

Result<Line> parse_fields(Cursor& cursor, std::size_t fields_max, std::vector<Field>& fields) {
  for (;;) {
    if (cursor.empty()) return Line::incomplete;
    if (*cursor.at == '\r') return end_of_line(cursor);
    if (fields.size() == fields_max) return cursor.fail("too many fields", ErrorKind::head_too_large);
    const char* name_begin = cursor.at;
    const char* name_end = skip_field_name(name_begin, cursor.end);
    if (name_end == cursor.end) return Line::incomplete;
    if (*name_end != ':' || name_end == name_begin) {
      if (*name_begin == ' ' || *name_begin == '\t') return cursor.fail("line folding (RFC 9112 5.2)");
      if (*name_end == ' ' || *name_end == '\t') return cursor.fail("space before the colon (RFC 9112 5.1)");
      return cursor.fail("invalid field name (RFC 9110 5.1)");
    }
    const char* value_begin = name_end + 1;
    while (value_begin != cursor.end && (*value_begin == ' ' || *value_begin == '\t')) ++value_begin;
    cursor.at = skip_field_value(value_begin, cursor.end);
    const char* value_end = cursor.at;
    while (value_end != value_begin && (value_end[-1] == ' ' || value_end[-1] == '\t')) --value_end;
    const bool canonical = value_end == cursor.at && value_begin == name_end + 2 && name_end[1] == ' ';
    if (cursor.end - cursor.at >= 2 && cursor.at[0] == '\r' && cursor.at[1] == '\n') {
      cursor.at += 2;
    } else {
      const Result<Line> line = end_of_line(cursor);
      if (!line || *line == Line::incomplete) return line;
    }
    const std::string_view name = between(name_begin, name_end);
    const auto line_bytes = canonical ? static_cast<std::uint32_t>(cursor.at - name_begin) : 0U;
    fields.push_back({name, between(value_begin, value_end), identify_field(name), false, line_bytes});
  }
}

}  // namespace

// 1*DIGIT below 2^63 (RFC 9110 section 8.6).
std::optional<std::uint64_t> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 19) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value >> 63U != 0) return std::nullopt;
  return value;
}

namespace {

// What the Connection fields say. RFC 9112 section 9.3.
struct ConnectionOptions {
  // Every option is looked for among all fields when the message is forwarded.
  static constexpr std::size_t kMax = 64;
  bool close = false;
  bool keep = false;
  std::size_t count = 0;

  // False: too many.
  bool read(std::string_view connection_value) {
    for_each_element(connection_value, [this](std::string_view option) {
      ++count;
      if (equals_ignoring_case(option, "close")) close = true;
      if (equals_ignoring_case(option, "keep-alive")) keep = true;
    });
    return count <= kMax;
  }
};

Result<> check_transfer_coding(const Cursor& cursor, std::string_view value, bool repeated) {
  if (equals_ignoring_case(value, "chunked") && !repeated) return {};
  bool all_tokens = true;
  bool has_chunked = repeated;
  std::size_t count = 0;
  for_each_element(value, [&](std::string_view coding) {
    ++count;
    const std::string_view name = trim(coding.substr(0, coding.find(';')));
    if (!is_token(name)) all_tokens = false;
    if (equals_ignoring_case(name, "chunked")) has_chunked = true;
  });
  if (count > 0 && all_tokens && !has_chunked)
    return cursor.fail("transfer coding (RFC 9112 6.1)", ErrorKind::unsupported);
  return cursor.fail("Transfer-Encoding other than one \"chunked\" (RFC 9112 6.1)");
}

Result<> decide_request(const Cursor& cursor, RequestHead& head) {
  const Field* host = nullptr;
  bool has_length = false;
  bool chunked = false;
  bool has_upgrade = false;
  ConnectionOptions connection;
  std::uint64_t length = 0;
  for (Field& field : head.fields) {
    switch (field.id) {
      case FieldId::host:
        if (host != nullptr) return cursor.fail("more than one Host (RFC 9112 3.2)");
        host = &field;
        if (field.value.empty()) return cursor.fail("empty Host (RFC 9110 4.2.1)");
        if (!valid_authority(field.value)) return cursor.fail("invalid Host (RFC 9112 3.2)");
        break;
      case FieldId::content_length: {
        if (has_length) return cursor.fail("more than one Content-Length (RFC 9112 6.3)");
        const std::optional<std::uint64_t> value = parse_length(field.value);
        if (!value) return cursor.fail("invalid Content-Length (RFC 9112 6.3)");
        has_length = true;
        length = *value;
        break;
      }
      case FieldId::transfer_encoding:
        if (const Result<> coding = check_transfer_coding(cursor, field.value, chunked); !coding) return coding;
        chunked = true;
        break;
      case FieldId::connection:
        if (!connection.read(field.value)) return cursor.fail("too many connection options");
        break;
      case FieldId::expect:
        if (!equals_ignoring_case(field.value, "100-continue")) {
          return cursor.fail("expectation (RFC 9110 10.1.1)", ErrorKind::expectation);
        }
        // An HTTP/1.0 client cannot wait for a 100: its expectation is ignored.
        head.expect_continue = head.version_minor >= 1;
        break;
      case FieldId::upgrade:
        has_upgrade = true;
        break;
      default:
        break;
    }
  }
  if (chunked && has_length) return cursor.fail("Content-Length with Transfer-Encoding (RFC 9112 6.3)");
  if (chunked && head.version_minor == 0) return cursor.fail("Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)");
  if (host == nullptr && head.version_minor >= 1) return cursor.fail("no Host (RFC 9112 3.2)");
  if (!head.absolute_form && host != nullptr) head.authority = host->value;
  if (chunked) {
    head.framing = {BodyFraming::Kind::chunked, 0};
  } else if (has_length && length > 0) {
    head.framing = {BodyFraming::Kind::length, length};
  }
  head.keep_alive = !connection.close && (head.version_minor >= 1 || connection.keep);
  if (has_upgrade && asks_for_websocket(head)) head.upgrade = Upgrade::websocket;
  return {};
}

Result<> decide_response(const Cursor& cursor, Method request_method, ResponseHead& head) {
  bool has_length = false;
  bool chunked = false;
  ConnectionOptions connection;
  std::uint64_t length = 0;
  for (Field& field : head.fields) {
    switch (field.id) {
      case FieldId::content_length: {
        const std::optional<std::uint64_t> value = parse_length(field.value);
        if (!value) return cursor.fail("invalid Content-Length (RFC 9112 6.3)");
        if (has_length) {
          if (*value != length) return cursor.fail("differing Content-Length (RFC 9112 6.3)");
          field.dropped = true;
        }
        has_length = true;
        length = *value;
        break;
      }
      case FieldId::transfer_encoding:
        if (chunked || !equals_ignoring_case(field.value, "chunked")) {
          return cursor.fail("Transfer-Encoding other than one \"chunked\" (RFC 9112 6.1)");
        }
        chunked = true;
        break;
      case FieldId::connection:
        if (!connection.read(field.value)) return cursor.fail("too many connection options");
        break;
      default:
        break;
    }
  }
  if (chunked && has_length) return cursor.fail("Content-Length with Transfer-Encoding (RFC 9112 6.3)");
  if (chunked && head.version_minor == 0) return cursor.fail("Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)");
  head.keep_alive = !connection.close && (head.version_minor >= 1 || connection.keep);
  const bool never_a_body = head.status < 200 || head.status == 204;
  if (never_a_body) {
    for (Field& field : head.fields) {  // RFC 9110 section 8.6: such a response must not say a length
      if (field.id == FieldId::content_length) field.dropped = true;
    }
  }
  if (never_a_body || head.status == 304 || request_method == Method::head) {
    head.framing = {};
  } else if (chunked) {
    head.framing = {BodyFraming::Kind::chunked, 0};
  } else if (has_length) {
    head.framing = length > 0 ? BodyFraming{BodyFraming::Kind::length, length} : BodyFraming{};
  } else {
    head.framing = {BodyFraming::Kind::until_close, 0};
  }
  return {};
}

Result<ParsedBytes> incomplete(const Cursor& cursor, std::string_view input, const HeadLimits& limits) {
  if (input.size() >= limits.head_max_bytes) return cursor.fail("head too large", ErrorKind::head_too_large);
  return ParsedBytes{0};
}

}  // namespace

std::size_t leading_crlf(std::string_view input) {
  return input.starts_with("\r\n") ? 2 : 0;
}

Result<ParsedBytes> parse_request_head(std::string_view input, const HeadLimits& limits, RequestHead& head) {
  Cursor cursor{input.data(), input.data() + input.size(), Origin::client};
  const Result<Line> start = parse_request_line(cursor, limits, head);
  if (!start) return std::unexpected(start.error());
  if (*start == Line::incomplete) return incomplete(cursor, input, limits);
  const Result<Line> fields = parse_fields(cursor, limits.fields_max, head.fields);
  if (!fields) return std::unexpected(fields.error());
  if (*fields == Line::incomplete) return incomplete(cursor, input, limits);
  const auto bytes = static_cast<std::size_t>(cursor.at - input.data());
  if (bytes > limits.head_max_bytes) return cursor.fail("head too large", ErrorKind::head_too_large);
  if (const Result<> decided = decide_request(cursor, head); !decided) return std::unexpected(decided.error());
  return bytes;
}

Result<ParsedBytes> parse_response_head(std::string_view input, const HeadLimits& limits, Method request_method,
                                        ResponseHead& head) {
  Cursor cursor{input.data(), input.data() + input.size(), Origin::backend};
  const Result<Line> start = parse_status_line(cursor, head);
  if (!start) return std::unexpected(start.error());
  if (*start == Line::incomplete) return incomplete(cursor, input, limits);
  const Result<Line> fields = parse_fields(cursor, limits.fields_max, head.fields);
  if (!fields) return std::unexpected(fields.error());
  if (*fields == Line::incomplete) return incomplete(cursor, input, limits);
  const auto bytes = static_cast<std::size_t>(cursor.at - input.data());
  if (bytes > limits.head_max_bytes) return cursor.fail("head too large", ErrorKind::head_too_large);
  if (const Result<> decided = decide_response(cursor, request_method, head); !decided) {
    return std::unexpected(decided.error());
  }
  return bytes;
}

// RFC 9110 section 6.5.1: fields that a recipient needs before the content, or that would change what was decided on.
bool allowed_in_trailer(const Field& field) {
  if (is_hop_by_hop(field.id)) return false;
  switch (field.id) {
    case FieldId::content_length:
    case FieldId::content_type:
    case FieldId::date:
    case FieldId::expect:
    case FieldId::forwarded:
    case FieldId::host:
    case FieldId::max_forwards:
    case FieldId::trailer:
    case FieldId::via:
    case FieldId::x_forwarded_for:
    case FieldId::x_forwarded_host:
    case FieldId::x_forwarded_proto:
      return false;
    default:
      break;
  }
  constexpr std::string_view kForbidden[] = {
      "authorization",
      "proxy-authorization",
      "www-authenticate",
      "proxy-authenticate",
      "authentication-info",
      "cookie",
      "set-cookie",
      "cache-control",
      "pragma",
      "range",
      "content-range",
      "content-encoding",
      "if-match",
      "if-none-match",
      "if-modified-since",
      "if-unmodified-since",
      "if-range",
      "location",
      "retry-after",
      "vary",
      "age",
      "expires",
      "warning",
  };
  for (const std::string_view name : kForbidden) {
    if (equals_ignoring_case(field.name, name)) return false;
  }
  return true;
}

Result<> parse_trailers(std::string_view input, std::size_t fields_max, Origin origin, std::vector<Field>& trailers) {
  Cursor cursor{input.data(), input.data() + input.size(), origin};
  trailers.clear();
  const Result<Line> fields = parse_fields(cursor, fields_max, trailers);
  if (!fields) return std::unexpected(fields.error());
  std::erase_if(trailers, [](const Field& field) { return !allowed_in_trailer(field); });
  return {};
}

}  // namespace dao::http::h1
