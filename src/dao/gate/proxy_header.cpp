#include "dao/gate/proxy_header.h"

#include <array>
#include <span>
#include <string_view>
#include <utility>

#include "dao/http/h1/message_io.h"

namespace dao::gate {

namespace {

// What is to be had without waiting; bytes == 0: not all of it.
Result<net::ProxyHeader> look(net::SocketStream& stream) {
  std::array<char, net::kProxyHeaderMax> buffer;
  const net::IoResult seen = stream.try_peek(buffer);
  if (seen.status == net::IoStatus::would_block) return net::ProxyHeader{};
  if (seen.status == net::IoStatus::failed) return std::unexpected(net::io_error(Origin::client, seen.sys_errno));
  if (seen.status == net::IoStatus::end) {
    return std::unexpected(
        Error{.origin = Origin::client, .kind = ErrorKind::closed, .detail = "closed before the PROXY header"});
  }
  const Result<net::ProxyHeader> header = net::parse_proxy_header(std::string_view(buffer.data(), seen.bytes));
  if (!header) return header;
  if (header->bytes > 0) {
    stream.drop_peeked(std::span(buffer).first(header->bytes));
  } else if (stream.peer_closed()) {
    return std::unexpected(
        Error{.origin = Origin::client, .kind = ErrorKind::incomplete, .detail = "closed within the PROXY header"});
  }
  return header;
}

}  // namespace

rt::Task<Result<net::ProxyHeader>> take_proxy_header(rt::Loop& loop, net::SocketStream& stream, Instant deadline,
                                                     rt::Cancel* cancel) {
  for (;;) {
    const Result<net::ProxyHeader> header = look(stream);
    if (!header || header->bytes > 0) co_return header;
    const rt::Wake wake = co_await stream.wait_readable(loop, deadline, cancel);
    if (wake != rt::Wake::ready) {
      co_return std::unexpected(http::h1::interrupted(wake, Origin::client, ErrorKind::timeout_head));
    }
  }
}

}  // namespace dao::gate
