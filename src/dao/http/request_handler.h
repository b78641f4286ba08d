// What a connection of clients needs to know and to call, whatever the protocol version: the limits of the listener,
// and the one who answers requests. One thread, that of the connection's loop.
#pragma once

#include <cstddef>
#include <memory>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/http/exchange.h"
#include "dao/http/h2/flood.h"
#include "dao/http/h2/server_limits.h"
#include "dao/http/head.h"
#include "dao/rt/task.h"

namespace dao::http {

struct ServerSettings {
  HeadLimits limits;
  std::size_t body_max_bytes = 0;  // 0 = no limit
  Nanoseconds header_timeout = std::chrono::seconds(10);
  Nanoseconds body_timeout = std::chrono::seconds(30);
  std::size_t body_min_bytes_per_second = 64;  // on average, once body_timeout has passed; 0 = off
  Nanoseconds idle_timeout = std::chrono::seconds(60);
  Nanoseconds write_timeout = std::chrono::seconds(30);
  h2::ServerLimits http2;
};

// Implemented by the server layer.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Answers the exchange or aborts it. `rejected` is set when no usable request was read: the handler then answers with
  // the error's status (the connection closes after it) and must not look at more of the request than is there.
  virtual rt::Task<> handle(Exchange& exchange, const Error* rejected) = 0;
  // A head buffer for the next request, cleared; given back when the exchange is over.
  virtual std::unique_ptr<RequestHead> borrow_request_head() = 0;
  virtual void return_request_head(std::unique_ptr<RequestHead> head) = 0;
  // The worker is draining: every answer is the last on its connection.
  [[nodiscard]] virtual bool draining() const = 0;
  virtual void connection_idle(bool idle) = 0;  // the connection begins or ends waiting for a request
  // A client's connection is over, with everything that was asked on it.
  virtual void client_left(const net::Peer&) {}
  // An HTTP/2 connection was ended because of what it kept us busy with. For counting and logging.
  virtual void flooded(h2::Flood, const net::Peer&) {}
};

}  // namespace dao::http
