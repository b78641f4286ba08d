// HTTP for operators on an address of its own: a side thread with its own loop, which no request of a client waits for.
// /metrics (telemetry_service.h) and the admin API (dao/admin) are made with it.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <thread>

#include "dao/http/h1/server_connection.h"
#include "dao/net/listener.h"
#include "dao/rt/epoll_loop.h"
#include "dao/server/worker_state.h"

namespace dao::server {

class SideService : private http::RequestHandler {
 public:
  SideService(const SideService&) = delete;
  SideService& operator=(const SideService&) = delete;
  // The thread has ended: a class that answers ends it in its own destructor, before its members go.
  ~SideService() override = default;

  void start();
  // Any thread: rt/epoll_loop.h.
  void share_descriptors(bool shared, std::function<void()> done) { loop_.share_descriptors(shared, std::move(done)); }
  // Any thread: ends the thread, open connections included. Once is enough, more does no harm.
  // `handed_over`: another process listens on the same socket.
  void stop(bool handed_over);

 protected:
  // Takes ownership of `listen_fd`. `body_max_bytes`: of requests.
  SideService(int listen_fd, std::size_t body_max_bytes);

  // On the service's thread; requested when it ends.
  [[nodiscard]] rt::EpollLoop& loop() { return loop_; }
  [[nodiscard]] rt::Cancel& ending() { return drain_; }
  // Sends a whole answer. `body` and `content_type` must outlive the call.
  rt::Task<> reply(http::Exchange& exchange, http::ResponseHead& response, std::uint16_t status,
                   std::string_view content_type, std::string_view body);

 private:
  std::unique_ptr<http::RequestHead> borrow_request_head() override { return std::make_unique<http::RequestHead>(); }
  void return_request_head(std::unique_ptr<http::RequestHead>) override {}
  [[nodiscard]] bool draining() const override { return drain_.requested(); }
  void connection_idle(bool) override {}
  rt::Task<> serve(int fd, net::Peer peer);

  const SystemClock clock_;
  rt::EpollLoop loop_;
  http::BufferPool buffers_;
  http::ServerSettings settings_;
  rt::Cancel drain_;
  std::size_t connections_ = 0;
  net::Acceptor acceptor_;
  std::thread thread_;
};

}  // namespace dao::server
