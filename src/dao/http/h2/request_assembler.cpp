#include "dao/http/h2/request_assembler.h"

#include <limits>
#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/syntax.h"
#include "dao/http/websocket_handshake.h"

namespace dao::http::h2 {

namespace {

// How many times the limit a block may decode to before the connection ends.
constexpr std::size_t kFarBeyond = 4;
constexpr std::size_t kLineOverhead = 4;  // ": " and CRLF
constexpr std::size_t kTextKept = 4096;   // of a string, between requests

Error malformed(std::string_view rule) {
  return {.origin = Origin::client, .kind = ErrorKind::malformed, .detail = rule};
}

// RFC 8441 section 5.1: the client's proof of having read an answer is not used.
void become_upgrade(RequestHead& head) {
  head.upgrade = Upgrade::websocket;
  for (Field& field : head.fields) {
    if (equals_ignoring_case(field.name, kWebSocketKey) || equals_ignoring_case(field.name, kWebSocketAccept)) {
      field.dropped = true;
    }
  }
}

void keep_small(std::string& text) {
  text.clear();
  if (text.capacity() > kTextKept) text.shrink_to_fit();
}

}  // namespace

void RequestAssembler::begin() {
  forget_text();
  has_authority_ = has_host_ = has_protocol_ = has_length_ = false;
  count_ = bytes_ = 0;
}

void RequestAssembler::forget_text() {
  for (std::string* text :
       {&method_, &scheme_, &authority_, &path_, &protocol_, &host_, &cookie_, &fields_, &never_indexed_}) {
    keep_small(*text);
  }
}

bool RequestAssembler::add(const HpackField& field, FieldId id) {
  const auto [name, value] = std::pair{field.name, field.value};
  bytes_ += name.size() + value.size() + kLineOverhead;
  if (bytes_ > kFarBeyond * (limits_.head_max_bytes + limits_.target_max_bytes)) return false;
  if (name.starts_with(':')) {
    add_pseudo(name, value);
  } else if (bytes_ <= limits_.head_max_bytes) {  // otherwise it is too much: finish() refuses
    add_regular(name, value, id);
    if (field.never_indexed) never_indexed_.append(name).append(":");
  }
  return true;
}

void RequestAssembler::add_pseudo(std::string_view name, std::string_view value) {
  if (name == ":path") {
    path_ = value.substr(0, limits_.target_max_bytes + 1);  // enough to be refused as too long
  } else if (name == ":method") {
    method_ = value.substr(0, limits_.target_max_bytes);
  } else if (name == ":scheme") {
    scheme_ = value.substr(0, limits_.target_max_bytes);
  } else if (name == ":protocol") {
    protocol_ = value.substr(0, limits_.target_max_bytes);
    has_protocol_ = true;
  } else if (bytes_ <= limits_.head_max_bytes) {
    authority_ = value;
    has_authority_ = true;
  }
}

void RequestAssembler::add_regular(std::string_view name, std::string_view value, FieldId id) {
  if (name == "cookie") {
    // RFC 9113 section 8.2.3: crumbs are one field.
    if (cookie_.empty()) ++count_;
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
    return;
  }
  ++count_;
  if (count_ > limits_.fields_max) return;
  if (id == FieldId::host) {
    has_host_ = true;
    host_ = value;
    return;
  }
  if (id == FieldId::content_length) has_length_ = true;
  fields_ += name;
  fields_ += ": ";
  fields_ += value;
  fields_ += "\r\n";
}

Result<> RequestAssembler::check_pseudo_fields() const {
  if (method_ != "CONNECT" || has_protocol_) {
    if (!equals_ignoring_case(scheme_, "http") && !equals_ignoring_case(scheme_, "https")) {
      return std::unexpected(malformed("scheme (RFC 9113 8.3.1)"));
    }
    const char* const path_end = path_.data() + path_.size();
    if (h1::skip_target(path_.data(), path_end) != path_end) {
      return std::unexpected(malformed("invalid path (RFC 9113 8.3.1)"));
    }
  }
  if (!h1::is_token(method_)) return std::unexpected(malformed("invalid method (RFC 9113 8.3.1)"));
  if (has_authority_ && has_host_ && !equals_ignoring_case(authority_, host_)) {
    return std::unexpected(malformed("authority and Host differ (RFC 9113 8.3.1)"));
  }
  if (has_protocol_ && !equals_ignoring_case(protocol_, "websocket")) {
    return std::unexpected(Error{
        .origin = Origin::client, .kind = ErrorKind::unsupported, .detail = "protocol of a CONNECT (RFC 9220 3)"});
  }
  return {};
}

void RequestAssembler::mark_never_indexed(std::span<Field> fields) const {
  for (std::string_view left = never_indexed_; !left.empty(); left.remove_prefix(left.find(':') + 1)) {
    const std::string_view name = left.substr(0, left.find(':'));
    for (Field& field : fields) {
      if (field.name == name) field.never_indexed = true;
    }
  }
}

Result<> RequestAssembler::finish(bool end_stream, RequestHead& head) {
  head.version_major = 2;
  head.version_minor = 0;
  Result<> checked = check_pseudo_fields();
  // A target that is too long has an answer of its own.
  const bool too_large =
      path_.size() <= limits_.target_max_bytes && (count_ > limits_.fields_max || bytes_ > limits_.head_max_bytes);
  if (!checked || too_large) {
    head.method_text = head.arena.copy(method_);
    head.target = head.arena.copy(path_);
    head.authority = head.arena.copy(authority_);
    forget_text();
    if (!checked) return checked;
    return std::unexpected(
        Error{.origin = Origin::client, .kind = ErrorKind::head_too_large, .detail = "head too large"});
  }
  const bool websocket = has_protocol_;
  if (websocket) method_ = "GET";
  const std::string_view target = method_ == "CONNECT" ? std::string_view{authority_} : std::string_view{path_};
  const std::string_view host = has_authority_ ? std::string_view{authority_} : std::string_view{host_};
  constexpr std::string_view kVersion = " HTTP/1.1\r\n";
  constexpr std::string_view kHost = "host: ";
  constexpr std::string_view kCookie = "cookie: ";
  constexpr std::string_view kLineEnd = "\r\n";
  const std::size_t size = method_.size() + 1 + target.size() + kVersion.size() + kHost.size() + host.size() +
                           kLineEnd.size() + fields_.size() + kCookie.size() + cookie_.size() + 2 * kLineEnd.size();
  char* const begin = head.arena.allocate(size);
  char* at = begin;
  const auto put = [&at](std::string_view text) { at += text.copy(at, text.size()); };
  put(method_);
  put(" ");
  put(target);
  put(kVersion);
  if (!host.empty()) {
    put(kHost);
    put(host);
    put(kLineEnd);
  }
  put(fields_);
  if (!cookie_.empty()) {
    put(kCookie);
    put(cookie_);
    put(kLineEnd);
  }
  put(kLineEnd);
  HeadLimits limits = limits_;
  limits.head_max_bytes = std::numeric_limits<std::size_t>::max();  // counted above
  limits.fields_max = limits_.fields_max + 1;                       // Host may have come as :authority
  const Result<h1::ParsedBytes> parsed =
      h1::parse_request_head({begin, static_cast<std::size_t>(at - begin)}, limits, head);
  head.version_minor = 0;  // the text says 1.1
  if (parsed) mark_never_indexed(head.fields);
  forget_text();
  if (!parsed) return std::unexpected(parsed.error());
  if (websocket) {
    if (has_length_) return std::unexpected(malformed("Content-Length in a CONNECT (RFC 9110 9.3.6)"));
    if (end_stream) return std::unexpected(malformed("a CONNECT that ends at once (RFC 8441 4)"));
    become_upgrade(head);
    return {};
  }
  if (end_stream) {
    if (head.framing.kind != BodyFraming::Kind::none) {
      return std::unexpected(malformed("Content-Length without a body (RFC 9113 8.1.1)"));
    }
  } else if (!has_length_) {
    head.framing = {BodyFraming::Kind::chunked, 0};
  }
  return {};
}

Result<> RequestAssembler::finish_trailers(std::string& text, std::vector<Field>& trailers) {
  if (count_ > limits_.fields_max || bytes_ > limits_.head_max_bytes) {
    forget_text();
    return std::unexpected(
        Error{.origin = Origin::client, .kind = ErrorKind::head_too_large, .detail = "trailers too large"});
  }
  text.swap(fields_);
  const Result<> parsed = h1::parse_trailers(text, limits_.fields_max, Origin::client, trailers);
  if (parsed) mark_never_indexed(trailers);
  forget_text();
  return parsed;
}

}  // namespace dao::http::h2
