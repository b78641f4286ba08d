// Probes upstreams for the mind: whether a connection can be made, or an HTTP answer is as expected. Runs on the mind's
// loop; so is every call, except addresses(). At most liminal.presence.probes_max probes are under way; the others wait
// for their turn, so that thousands of absent upstreams cost no more than that.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/http/buffer.h"
#include "dao/liminal/mind.h"
#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/rt/task.h"
#include "dao/server/generation.h"
#include "dao/server/upstream_tls.h"

namespace dao::server {

class Prober {
 public:
  // All outlive it. `end`: requested when the loop is to end; running() tells when it may.
  Prober(rt::EpollLoop& loop, liminal::Mind& mind, rt::Cancel& end) : loop_(loop), mind_(mind), end_(end) {}

  // These generations are in use, the newest first; never none.
  void follow(const std::vector<std::shared_ptr<const Generation>>& generations);
  // Begins what is due. Not before follow().
  void step();
  [[nodiscard]] std::size_t running() const { return running_; }
  // Any thread: where an upstream is now. Of several addresses one good one is enough.
  void addresses(std::size_t upstream, std::vector<net::SocketAddress> addresses);

 private:
  struct Seat {
    std::shared_ptr<const net::TlsClientContext> context;
    std::unique_ptr<TlsConnector> secure;                      // null without TLS
    std::optional<std::vector<net::SocketAddress>> addresses;  // nothing: not known yet
  };
  rt::Task<> probe(liminal::DueProbe due);
  rt::Task<liminal::ProbeOutcome> probe(const liminal::DueProbe& due, const net::SocketAddress& address);
  rt::Task<liminal::ProbeOutcome> ask(const config::Upstream& whom, std::unique_ptr<net::Stream> stream,
                                      Instant deadline);

  rt::EpollLoop& loop_;
  liminal::Mind& mind_;
  rt::Cancel& end_;
  std::shared_ptr<const Generation> newest_;
  http::BufferPool buffers_;
  std::vector<std::optional<Seat>> seats_;  // by the upstreams' numbers
  std::size_t running_ = 0;
};

}  // namespace dao::server
