// What a gateway does to a message before it passes it on: hop-by-hop fields go (RFC 9110 section 7.6.1), Via comes
// (7.6.3), X-Forwarded-* and Forwarded (RFC 7239) tell the backend who asked. Edits heads in place; any protocol
// version. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "dao/http/head.h"
#include "dao/net/address.h"

namespace dao::http {

struct ForwardingRules {
  std::string via = "dao";  // pseudonym
  bool x_forwarded = true;
  bool forwarded = true;
};

// `peer` and `scheme` outlive the head's fields, which may be views of their text. `trusted`: the peer may speak for
// those before it: its X-Forwarded-* and Forwarded are kept and extended; otherwise they are replaced.
void prepare_request(RequestHead& head, const ForwardingRules& rules, const net::Peer& peer, bool trusted,
                     std::string_view scheme);

// `date`: an IMF-fixdate for a response that has none (RFC 9110 section 6.6.1); empty for interim responses.
void prepare_response(ResponseHead& head, const ForwardingRules& rules, std::string_view date);

// RFC 9110 section 7.6.2, for TRACE and OPTIONS.
enum class Hops : std::uint8_t {
  forward,  // with the field decremented, if there was one
  answer,   // Max-Forwards was 0: we are the final recipient
  invalid,
};
Hops count_down_max_forwards(RequestHead& head);

}  // namespace dao::http
