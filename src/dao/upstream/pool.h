// The connections of one worker to one upstream: every resolved address is an endpoint. One thread.
//
// HTTP/1: an endpoint has idle connections, used last in first out, each for one exchange at a time. HTTP/2: exchanges
// share connections; another one is opened when all are full, up to a bound; beyond that exchanges wait for a stream on
// the one with the fewest.
//
// An idle connection that becomes readable is dead (closed, or a backend talking out of turn): it is dropped when it is
// next looked at, at acquire() or in sweep().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/http/buffer.h"
#include "dao/http/h1/client_connection.h"
#include "dao/http/h2/client_session.h"
#include "dao/http/h2/client_stream.h"
#include "dao/net/address.h"
#include "dao/rt/loop.h"
#include "dao/sense/shard.h"

namespace dao::upstream {

// Opens streams to backends: sockets in production, in-memory pipes in virtual time.
class Connector {
 public:
  virtual ~Connector() = default;
  // Begins to connect (net/socket_stream.h: connect). Errors: Origin::backend, Sent::nothing.
  // The one to use for the upstream of this number.
  virtual Connector& for_upstream(std::size_t) { return *this; }
  virtual Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) = 0;
};

enum class Protocol : std::uint8_t { h1, h2 };

struct PoolSettings {
  std::size_t max_idle = 1024;
  Nanoseconds idle_timeout = std::chrono::seconds(60);
  Protocol protocol = Protocol::h1;
  // HTTP/2:
  std::size_t max_sessions = 4;  // to each address
  http::h2::ClientSettings h2 = {};
};

class Pool {
  struct Endpoint;

 public:
  // A connection, or a stream of one, for one exchange. Always give it back with release().
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) noexcept = default;
    ~Lease() = default;
    [[nodiscard]] http::ClientExchange& exchange() const {
      if (stream_ != nullptr) return *stream_;
      return *connection_;
    }
    // HTTP/1 only.
    [[nodiscard]] http::h1::ClientConnection& connection() const { return *connection_; }
    // The connection stood already.
    [[nodiscard]] bool reused() const { return reused_; }
    // Lives as long as anybody holds it, whatever becomes of the address.
    [[nodiscard]] std::shared_ptr<const std::string> address() const { return {endpoint_, &endpoint_->text}; }

   private:
    friend class Pool;
    std::unique_ptr<http::h1::ClientConnection> connection_;
    std::unique_ptr<http::h2::ClientStream> stream_;
    std::shared_ptr<Endpoint> endpoint_;
    bool reused_ = false;
  };

  Pool(rt::Loop& loop, Connector& connector, http::BufferPool& buffers, sense::UpstreamCounters& counters,
       PoolSettings settings);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Endpoints that stay keep their idle connections; those of the others are closed, exchanges under way go on.
  void set_addresses(const std::vector<net::SocketAddress>& addresses);
  [[nodiscard]] std::size_t endpoints() const { return endpoints_.size(); }

  // Takes an idle connection, or begins to connect to the next address in turn (those that failed a moment ago last).
  //   fresh:  not one that was used before (after such a one turned out to be dead)
  //   verify: ask the kernel whether an idle connection is still open, for a request that cannot be sent twice
  // Error: ErrorKind::no_upstream without addresses, else what connect failed with.
  Result<Lease> acquire(bool fresh, bool verify);
  // `reusable`: the exchange ended well on both sides. `backend_keeps`: how long the backend said it keeps idle
  // connections.
  void release(Lease lease, bool reusable, std::optional<Nanoseconds> backend_keeps);

  // An asynchronous connect came to nothing: for a moment the other addresses come first.
  void connect_failed(const Lease& lease);

  // Closes idle connections that died or outlived their time. Called about once a second.
  void sweep();
  void close_idle();

 private:
  struct Idle {
    std::unique_ptr<http::h1::ClientConnection> connection;
    Instant expires;
  };
  struct Session {
    std::shared_ptr<http::h2::ClientSession> session;
    bool connect_failed = false;  // counted once for all that waited for it
  };
  struct Endpoint {
    net::SocketAddress address;
    std::string text;
    std::vector<Idle> idle;
    std::vector<Session> sessions;  // one without streams counts as idle
    Instant avoid_until{};          // after a failed connect, if there are other addresses
    bool gone = false;              // no longer among the addresses
  };

  void drop_idle(Endpoint& endpoint);
  void connect_failed(Endpoint& endpoint);
  Result<std::unique_ptr<net::Stream>> begin_connect(Endpoint& endpoint);
  Result<Lease> acquire_stream(bool verify);
  void release_stream(Lease& lease);
  // Forgets sessions without streams that have ended, or all of them (`all`: and ends them).
  void forget_sessions(Endpoint& endpoint, bool all);
  // The address to connect to next.
  [[nodiscard]] std::size_t next_endpoint() const;

  rt::Loop& loop_;
  Connector& connector_;
  http::BufferPool& buffers_;
  sense::UpstreamCounters& counters_;
  PoolSettings settings_;
  std::vector<std::shared_ptr<Endpoint>> endpoints_;
  std::size_t next_ = 0;
  std::size_t idle_ = 0;
};

}  // namespace dao::upstream
