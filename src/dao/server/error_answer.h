// From an Error to what the client and the operator see: the status, the Proxy-Status name (RFC 9209 section 2.3) and
// the sentence of the body. One table; docs/errors.md shows it. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dao/base/error.h"

namespace dao::server {

struct ErrorAnswer {
  std::uint16_t status;           // 499: the client has gone, nothing is sent
  std::string_view proxy_status;  // "connection_refused"
  std::string_view sentence;      // for the body: what happened, without internals
  bool retry_after = false;       // the client is told to come back in a moment
};

ErrorAnswer answer_for(const Error& error);

std::string_view reason_phrase(std::uint16_t status);

// "502 Bad Gateway: the upstream refused the connection\n", or problem+json (RFC 9457).
std::string error_body(const ErrorAnswer& answer, bool json);

// The client would rather read JSON than text: a JSON type stands in its Accept and text/html, text/plain do not come
// before it. `accept`: the field's value; empty if there was none.
bool prefers_json(std::string_view accept);

}  // namespace dao::server
