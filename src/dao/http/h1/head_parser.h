// Parsing HTTP/1.x heads (RFC 9112 sections 2 to 6), strictly: whatever two parsers could read differently is an error.
//
// Refused: bare CR or LF, obsolete line folding, space around the field name, control bytes and NUL, empty or
// invalid names, Content-Length with Transfer-Encoding, repeated or listed or signed Content-Length, any transfer
// coding but one "chunked", Transfer-Encoding in HTTP/1.0, missing or repeated or empty or invalid Host, ports above
// 65535, userinfo, fragments, more than 64 connection options. Pure functions over a buffer; the views they store point
// into it. Complexity: linear in the head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dao/base/error.h"
#include "dao/http/head.h"

namespace dao::http::h1 {

// Bytes of the head, its empty line included; 0 when `input` does not hold all of it yet.
using ParsedBytes = std::size_t;

// Parses a request head at the start of `input`, which must not begin with the optional leading CRLF
// (skip_leading_crlf). Errors: Origin::client; malformed (400), target_too_large (414), head_too_large (431), version
// (505), unsupported (501), expectation (417). After an error `head` holds what was understood of the start line, for
// the log. While the head is incomplete, errors that can already be told are told.
Result<ParsedBytes> parse_request_head(std::string_view input, const HeadLimits& limits, RequestHead& head);

// Parses a response head. Errors: Origin::backend; malformed, head_too_large. Only `fields_max` and `head_max_bytes` of
// the limits count. The framing is decided by the request's method and the status (RFC 9112 section 6.3).
Result<ParsedBytes> parse_response_head(std::string_view input, const HeadLimits& limits, Method request_method,
                                        ResponseHead& head);

// Parses a trailer section without its final empty line; `input` is whole lines. Keeps only fields that may be
// forwarded from a trailer (RFC 9110 section 6.5.1): nothing of framing, routing, authentication or content handling.
Result<> parse_trailers(std::string_view input, std::size_t fields_max, Origin origin, std::vector<Field>& trailers);

// A field that may be forwarded from a trailer section.
bool allowed_in_trailer(const Field& field);

// The value of a Content-Length: digits only (RFC 9110 section 8.6), below 2^63.
std::optional<std::uint64_t> parse_length(std::string_view text);

// RFC 9112 section 2.2: one empty line before a request line is ignored. Returns how many bytes to skip (0 or 2).
// A lone CR at the end of the input is left for later.
std::size_t leading_crlf(std::string_view input);

}  // namespace dao::http::h1
