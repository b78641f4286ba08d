// The connections of one worker to one upstream: every resolved address is an endpoint. One thread.
//
// HTTP/1: an endpoint has idle connections, used last in first out, each for one exchange at a time. HTTP/2: exchanges
// share connections, the fullest one that has room first: writes then carry the frames of many, and the connections of
// a past peak come to an end. Another one is opened when all are full, up to a bound; beyond that exchanges wait for a
// stream on the one with the fewest. Which of the two it is may be known only when a TLS handshake is over: until then
// requests wait together for the one connection.
//
// Where the backend wants PROXY protocol headers, a connection announces one client and carries requests of that client
// only: it is used again for a request whose header would be the same, byte for byte, and dropped when the client has
// gone. So a backend never sees a request on a connection that announced somebody else.
//
// An idle connection that the backend closes is dropped within a millisecond or two. One that becomes readable, because
// the backend talks out of turn, is dead as well: it is dropped when it is next looked at, at acquire() or in sweep().
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
#include "dao/net/proxy_protocol.h"
#include "dao/net/tls_facts.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"
#include "dao/sense/shard.h"

namespace dao::upstream {

// Opens streams to backends: sockets in production, in-memory pipes in virtual time.
class Connector {
 public:
  virtual ~Connector() = default;
  // Begins to connect (net/socket_stream.h: connect). Errors: Origin::backend, Sent::nothing.
  virtual Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) = 0;
  // As connect(), where nothing but HTTP/1.1 will do: nothing else is offered.
  virtual Result<std::unique_ptr<net::Stream>> connect_h1(const net::SocketAddress& to) { return connect(to); }
};

enum class Protocol : std::uint8_t {
  h1,
  h2,
  negotiated,  // what the backend picks by ALPN (RFC 7301), for each connection
};

struct PoolSettings {
  std::size_t max_idle = 1024;
  Nanoseconds idle_timeout = std::chrono::seconds(60);
  Protocol protocol = Protocol::h1;
  bool h1_allowed = true;  // negotiated: a backend that does not pick HTTP/2 is spoken to in HTTP/1.1
  std::optional<net::ProxyVersion> proxy_header = std::nullopt;  // what connections begin with, if anything
  // HTTP/2:
  std::size_t max_sessions = 4;  // to each address
  http::h2::ClientSettings h2 = {};
};

// For whom a connection is wanted; what a PROXY header tells. Without a peer nobody is known.
struct Client {
  const net::Peer* peer = nullptr;
  const net::TlsFacts* tls = nullptr;
};

class Pool {
  struct Endpoint;
  struct Negotiation;
  struct Announced {
    std::string header;
    net::Peer client;
  };

 public:
  // What a request asks of its connection.
  struct Need {
    bool fresh = false;   // not one that was used before (after such a one turned out to be dead)
    bool verify = false;  // ask the kernel whether an idle one is still open: the request cannot be sent twice
    bool h1 = false;      // HTTP/1.1, to leave it by an upgrade; of a pool that speaks nothing but HTTP/2, no matter
    Client client = {};   // for whom it is
  };

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
    // There is no exchange yet: settle(), which must be next, gives it one.
    [[nodiscard]] bool unsettled() const { return negotiation_ != nullptr; }
    // Lives as long as anybody holds it, whatever becomes of the address.
    [[nodiscard]] std::shared_ptr<const std::string> address() const { return {endpoint_, &endpoint_->text}; }

   private:
    friend class Pool;
    std::unique_ptr<http::h1::ClientConnection> connection_;
    std::unique_ptr<http::h2::ClientStream> stream_;
    std::shared_ptr<const Announced> announced_;  // HTTP/1, with a PROXY header
    std::shared_ptr<Endpoint> endpoint_;
    std::shared_ptr<Negotiation> negotiation_;
    bool reused_ = false;
  };

  Pool(rt::Loop& loop, Connector& connector, http::BufferPool& buffers, sense::UpstreamCounters& counters,
       PoolSettings settings);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // For connections that are opened, and waits that begin, from now on. The protocol and the PROXY header are as
  // before.
  void configure(const PoolSettings& settings) { settings_ = settings; }
  // Endpoints that stay keep their idle connections; those of the others are closed, exchanges under way go on.
  void set_addresses(const std::vector<net::SocketAddress>& addresses);
  [[nodiscard]] std::size_t endpoints() const { return endpoints_.size(); }

  // Takes an idle connection, or begins to connect to the next address in turn (those that failed a moment ago last).
  // Error: ErrorKind::no_upstream without addresses, else what connect failed with.
  Result<Lease> acquire(Need need);
  // Waits until it is known what the connection of an unsettled lease speaks, at most `connecting`, and gives the lease
  // its exchange. Requests that come meanwhile wait for the same connection: if it speaks HTTP/2 they share it; if not,
  // the first has it and the others open their own, for which they get `connecting` once more. The lease stays where it
  // is meanwhile. Errors: what connecting fails with, timeout_connect, cancelled; tls_protocol if the backend did not
  // pick what alone is allowed.
  rt::Task<Result<>> settle(Lease& lease, Nanoseconds connecting, rt::Cancel* cancel);
  // A request that must be spoken of in HTTP/1.1 finds that here.
  [[nodiscard]] bool can_speak_h1() const {
    return settings_.protocol == Protocol::h1 || (settings_.protocol == Protocol::negotiated && settings_.h1_allowed);
  }
  // `reusable`: the exchange ended well on both sides. `backend_keeps`: how long the backend said it keeps idle
  // connections.
  void release(Lease lease, bool reusable, std::optional<Nanoseconds> backend_keeps);

  // An asynchronous connect came to nothing: for a moment the other addresses come first.
  void connect_failed(const Lease& lease);

  // The client's connection is over: idle connections that announce it serve nobody any more.
  void client_left(const net::Peer& client);
  [[nodiscard]] bool announces_clients() const { return settings_.proxy_header.has_value(); }

  // Closes idle connections that outlived their time, or died. Called about once a second.
  void sweep();
  void close_idle();

 private:
  struct Idle {
    std::unique_ptr<http::h1::ClientConnection> connection;
    Instant expires;
    std::shared_ptr<const Announced> announced;
  };
  struct Session {
    std::shared_ptr<http::h2::ClientSession> session;
    std::shared_ptr<const Announced> announced;
    bool connect_failed = false;  // counted once for all that waited for it
  };
  struct Endpoint {
    net::SocketAddress address;
    std::string text;
    std::vector<Idle> idle;
    std::vector<Session> sessions;  // one without streams counts as idle
    std::vector<std::shared_ptr<Negotiation>> negotiations;
    std::optional<Protocol> speaks;  // what was agreed on last
    Instant avoid_until{};           // after a failed connect, if there are other addresses
    bool gone = false;               // no longer among the addresses
  };

  // Sweeps when one of the idle connections is closed by its backend: not within the event, which may be about several.
  struct ClosedWatch {
    explicit ClosedWatch(Pool& pool);
    ~ClosedWatch();
    ClosedWatch(const ClosedWatch&) = delete;
    ClosedWatch& operator=(const ClosedWatch&) = delete;
    void begin();

    struct Heard : rt::Cancel::Hook {
      ClosedWatch* watch = nullptr;
    };
    struct Turn : rt::Timer {
      ClosedWatch* watch = nullptr;
    };
    Pool& pool;
    std::optional<rt::Cancel> closed;  // requested by whatever is closed
    Heard heard;
    Turn turn;
  };

  // The pool forgets it.
  static void end(Session& session);
  // Makes header_ for the exchange that wants a connection.
  void prepare_header(const Client& client);
  // The connection may carry that exchange.
  [[nodiscard]] bool fits(const std::shared_ptr<const Announced>& announced) const {
    return !announced || announced->header == header_;
  }
  void drop_idle(Endpoint& endpoint);
  void drop_oldest_idle();
  std::unique_ptr<http::h1::ClientConnection> take_idle(Endpoint& endpoint, bool verify,
                                                        std::shared_ptr<const Announced>& announced);
  void connect_failed(Endpoint& endpoint);
  // What a connection for the exchange would announce; null without PROXY headers.
  [[nodiscard]] std::shared_ptr<const Announced> announce(const Client& client) const;
  Result<std::unique_ptr<net::Stream>> begin_connect(Endpoint& endpoint, bool h1,
                                                     const std::shared_ptr<const Announced>& announced);
  std::optional<Lease> take_idle(bool verify);
  Lease lease_of_next_endpoint();
  Result<Lease> acquire_connection(Need need);
  Result<Lease> acquire_stream(Need need);
  static bool is_better(const http::h2::ClientSession& one, const http::h2::ClientSession& other);
  // The session with the most streams of those with room, or with the fewest if there are none; null if none is usable.
  struct Choice {
    std::shared_ptr<http::h2::ClientSession> session;
    std::size_t usable = 0;
  };
  [[nodiscard]] Choice choose_session(const Endpoint& endpoint, bool verify) const;
  void add_session(Endpoint& endpoint, std::shared_ptr<http::h2::ClientSession> session,
                   std::shared_ptr<const Announced> announced);
  void open_stream(Lease& lease, http::h2::ClientSession& session);
  // pool_negotiation.cpp
  Result<Lease> acquire_negotiated(Need need);
  Result<> begin_negotiation(Lease& lease, const std::shared_ptr<const Announced>& announced);
  static rt::Task<> negotiate(rt::Loop& loop, std::shared_ptr<Negotiation> negotiation);
  void negotiated(Negotiation& negotiation, Result<> outcome);
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
  std::string header_;  // what a connection for the present acquire() announces; empty without PROXY headers
  std::vector<std::shared_ptr<Endpoint>> endpoints_;
  std::size_t next_ = 0;
  std::size_t idle_ = 0;
  ClosedWatch closed_watch_{*this};
};

}  // namespace dao::upstream
