// TLS towards the backends: what each https upstream needs, made once, and how a worker connects with it.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dao/config/config.h"
#include "dao/net/tls_context.h"
#include "dao/rt/epoll_loop.h"
#include "dao/upstream/pool.h"

namespace dao::server {

// Immutable, shared by all workers.
struct UpstreamTlsContexts {
  // By the upstreams' indexes in the configuration; null where there is no TLS.
  std::vector<std::shared_ptr<const net::TlsClientContext>> by_index;
  // By what they were made of: the settings, and the state of the files.
  std::unordered_map<std::string, std::shared_ptr<const net::TlsClientContext>> by_making;
};

// Reads the files, but for what is as it was `before` (null: nothing was). The error is a sentence for the operator.
std::expected<UpstreamTlsContexts, std::string> make_upstream_tls(const config::Config& config,
                                                                  const UpstreamTlsContexts* before);

// Connects one worker with one upstream. Keeps the last session of each address, so that the next handshake is short.
class TlsConnector final : public upstream::Connector {
 public:
  TlsConnector(rt::EpollLoop& loop, std::shared_ptr<const net::TlsClientContext> context)
      : loop_(loop), context_(std::move(context)) {}

  // For connections from now on.
  void use(std::shared_ptr<const net::TlsClientContext> context) {
    if (context == context_) return;
    context_ = std::move(context);
    sessions_.clear();
  }

  // The handshake is a part of connecting (net/tls_stream.h: connect).
  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) override;
  Result<std::unique_ptr<net::Stream>> connect_h1(const net::SocketAddress& to) override;

 private:
  // `alpn`: as net::TlsStream::connect.
  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to, std::string_view alpn);

  // Addresses that come and go with DNS are forgotten in bulk.
  static constexpr std::size_t kSessionsMax = 256;
  rt::EpollLoop& loop_;
  std::shared_ptr<const net::TlsClientContext> context_;
  std::unordered_map<std::string, std::shared_ptr<net::TlsSessionSlot>> sessions_;  // by address
};

}  // namespace dao::server
