#include "dao/gate/refusal.h"

#include <array>
#include <string_view>

#include "dao/http/h1/message_io.h"

namespace dao::gate {

rt::Task<> refuse(rt::Loop& loop, std::unique_ptr<net::SocketStream> stream, rt::Cancel& drain) {
  constexpr std::string_view kAnswer =
      "HTTP/1.1 503 Service Unavailable\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: 50\r\n"
      "Retry-After: 1\r\n"
      "Proxy-Status: dao; error=connection_limit_reached\r\n"
      "Connection: close\r\n"
      "\r\n"
      "503 Service Unavailable: too many connections now\n";
  iovec piece = http::h1::piece_of(kAnswer);
  const net::IoResult sent = stream->try_write({&piece, 1});
  if (sent.status != net::IoStatus::ok) co_return;
  stream->shutdown_write();
  // Reading what the client sends lets it read our answer before the connection is gone.
  std::array<char, 1024> discarded;
  const Instant deadline = loop.now() + std::chrono::seconds(1);
  for (;;) {
    auto reading =
        http::h1::read_some(loop, *stream, discarded, Origin::client, deadline, ErrorKind::timeout_idle, &drain);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) break;
  }
}

}  // namespace dao::gate
