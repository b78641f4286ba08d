#include "dao/server/side_service.h"

#include <unistd.h>

#include <utility>

#include "dao/net/socket_stream.h"
#include "dao/server/local_answer.h"

namespace dao::server {

namespace {
// Operators and scrapers are few; whoever opens more than this is neither.
constexpr std::size_t kMaxConnections = 64;
}  // namespace

SideService::SideService(int listen_fd, std::size_t body_max_bytes)
    : loop_(clock_),
      acceptor_(
          loop_, listen_fd,
          [](void* context, int fd, const sockaddr* peer) {
            auto& self = *static_cast<SideService*>(context);
            if (self.connections_ >= kMaxConnections) {
              close(fd);
              return;
            }
            ++self.connections_;
            self.loop_.spawn(self.serve(fd, net::Peer(peer)));
          },
          this) {
  settings_.body_max_bytes = body_max_bytes;
}

void SideService::start() {
  thread_ = std::thread([this] { loop_.run(); });
}

void SideService::stop(bool handed_over) {
  if (!thread_.joinable()) return;
  loop_.post([this, handed_over] {
    if (handed_over) {
      acceptor_.abandon();
    } else {
      acceptor_.close();
    }
    drain_.request(ErrorKind::draining);
    if (connections_ == 0) loop_.stop();
  });
  thread_.join();
}

rt::Task<> SideService::serve(int fd, net::Peer peer) {
  {
    http::h1::ServerConnection connection(loop_, std::make_unique<net::SocketStream>(loop_, fd), peer, buffers_,
                                          settings_, *this, drain_);
    auto serving = connection.serve();
    co_await std::move(serving);
  }
  --connections_;
  if (drain_.requested() && connections_ == 0) loop_.stop();
}

rt::Task<> SideService::reply(http::Exchange& exchange, http::ResponseHead& response, std::uint16_t status,
                              std::string_view content_type, std::string_view body) {
  DateText date;
  auto answering = answer(exchange, response, status, content_type, body, date.at(clock_.wall_now()));
  const Result<> sent = co_await std::move(answering);
  static_cast<void>(sent);  // whoever went away meanwhile needs no answer
}

}  // namespace dao::server
