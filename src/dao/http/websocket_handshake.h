// The opening handshake of WebSocket over HTTP/1.1 (RFC 6455 section 4), as a gateway sees it: which requests ask for
// one, what goes to the backend, and whether its 101 answers this request; and what that 101 is over HTTP/2 (RFC 8441).
// Version, subprotocols and extensions are between the endpoints. Pure functions, any thread.
#pragma once

#include <array>
#include <string_view>

#include "dao/base/error.h"
#include "dao/base/random.h"
#include "dao/http/head.h"

namespace dao::http {

inline constexpr std::string_view kWebSocketKey = "Sec-WebSocket-Key";
inline constexpr std::string_view kWebSocketAccept = "Sec-WebSocket-Accept";

// An HTTP/1.1 request whose Connection and Upgrade fields ask for a WebSocket in a way that a server could accept
// (section 4.2.1): a GET without a body, with one Sec-WebSocket-Key and one Sec-WebSocket-Version.
bool asks_for_websocket(const RequestHead& head);

// What prepare_request() and prepare_response() take away, and whoever writes an HTTP/1.1 head with an upgrade puts
// back.
inline constexpr std::string_view kWebSocketUpgradeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

// A request that came without a key (HTTP/2 has none, RFC 8441 section 5.1) gets one from `random`.
void ensure_websocket_key(RequestHead& head, Random& random);

// The value of Sec-WebSocket-Accept for this Sec-WebSocket-Key (section 4.2.2).
std::array<char, 28> websocket_accept(std::string_view key);

// Whether a 101 is the answer to `request` as it was sent: section 4.1, steps 2 to 4 of what a client checks. Error:
// Origin::backend, unexpected_upgrade. `answer` as it came, before prepare_response().
Result<> check_websocket_answer(const RequestHead& request, const ResponseHead& answer);

// Makes a 101, after prepare_response(), the answer to an extended CONNECT (RFC 8441 section 5): a 200, without what
// has no meaning there.
void become_connect_answer(ResponseHead& answer);

}  // namespace dao::http
