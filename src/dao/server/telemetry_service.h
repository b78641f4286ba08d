// /metrics, /livez and /ready on an address of their own: a side thread with its own loop, which no request waits for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "dao/http/h1/server_connection.h"
#include "dao/net/listener.h"
#include "dao/rt/epoll_loop.h"

namespace dao::server {

class TelemetryService final : private http::RequestHandler {
 public:
  // `metrics` makes the text of /metrics, `ready` tells whether traffic is welcome; both are called on this thread.
  // Takes ownership of `listen_fd`.
  TelemetryService(int listen_fd, std::function<std::string()> metrics, std::function<bool()> ready);
  ~TelemetryService() override;

  void start();
  // Any thread: ends the thread, open connections included.
  // `handed_over`: another process listens on the same socket.
  void stop(bool handed_over);

 private:
  rt::Task<> handle(http::Exchange& exchange, const Error* rejected) override;
  std::unique_ptr<http::RequestHead> borrow_request_head() override { return std::make_unique<http::RequestHead>(); }
  void return_request_head(std::unique_ptr<http::RequestHead>) override {}
  [[nodiscard]] bool draining() const override { return drain_.requested(); }
  void connection_idle(bool) override {}
  rt::Task<> serve(int fd, net::Peer peer);

  const SystemClock clock_;
  rt::EpollLoop loop_;
  std::function<std::string()> metrics_;
  std::function<bool()> ready_;
  http::BufferPool buffers_;
  http::ServerSettings settings_;
  rt::Cancel drain_;
  std::size_t connections_ = 0;
  net::Acceptor acceptor_;
  std::thread thread_;
};

}  // namespace dao::server
