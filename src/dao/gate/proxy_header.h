// Takes a PROXY protocol header off a new connection, and not a byte more: TLS or HTTP reads on from there.
#pragma once

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/net/proxy_protocol.h"
#include "dao/net/socket_stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"

namespace dao::gate {

// Before anything else was read from `stream`. Errors: Origin::client with proxy_header (something else came),
// timeout_head at `deadline`, incomplete (closed within the header), closed (closed before its first byte, as checks of
// a port do), reset, io; or cancelled. Looks at up to net::kProxyHeaderMax bytes for each arrival of data.
DAO_FRAME_OF_ITS_OWN rt::Task<Result<net::ProxyHeader>> take_proxy_header(rt::Loop& loop, net::SocketStream& stream,
                                                                          Instant deadline, rt::Cancel* cancel);

}  // namespace dao::gate
