// For tests: a Connector whose connections are MemoryStreams, so that pools and the request path run in virtual time.
// One thread.
#pragma once

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dao/net/memory_stream.h"
#include "dao/upstream/pool.h"

namespace dao::upstream {

// What connecting to an address comes to.
enum class Reach : std::uint8_t {
  accepts,
  refuses,        // connect() fails at once, like a unix socket that is not there
  refuses_later,  // the kernel says so a moment after connect(), like a TCP port that is closed
  silent,         // packets are dropped: the connect never ends
};

class MemoryConnector : public Connector {
 public:
  struct Opened {
    std::string to;
    std::unique_ptr<net::MemoryStream> backend;  // the far end
    net::MemoryStream* near;                     // lives as long as DAO keeps the connection
    bool only_h1;                                // asked for by connect_h1()
  };

  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) override { return connect(to, false); }
  Result<std::unique_ptr<net::Stream>> connect_h1(const net::SocketAddress& to) override { return connect(to, true); }

  std::map<std::string, Reach> reach;  // by address; those not named accept
  std::size_t capacity = 65536;        // of each connection, in each direction
  bool tls = false;                    // connections begin with a handshake, which ends when the test agrees to it
  std::vector<std::string> tried;      // addresses, in order

 protected:
  virtual void opened(Opened connection) = 0;

 private:
  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to, bool only_h1) {
    const std::string address = to.text();
    tried.push_back(address);
    const Reach how = reach.contains(address) ? reach[address] : Reach::accepts;
    if (how == Reach::refuses) return std::unexpected(net::io_error(Origin::backend, ECONNREFUSED));
    if (how == Reach::refuses_later) return std::make_unique<RefusedStream>();
    auto [near, far] = net::MemoryStream::make_pair(how == Reach::silent ? 0 : capacity);
    if (tls) near->begin_handshake();
    if (how == Reach::accepts) {
      opened({address, std::move(far), near.get(), only_h1});
    } else {
      silent_.push_back(std::move(far));
    }
    return std::move(near);
  }

  class RefusedStream final : public net::Stream {
   public:
    net::IoResult try_read(std::span<char>) override { return {net::IoStatus::failed, ECONNREFUSED}; }
    [[nodiscard]] bool may_read() const override { return asked_; }
    net::IoResult try_finish_connect() override { return try_write({}); }
    net::IoResult try_write(std::span<const iovec>) override {
      if (asked_) return {net::IoStatus::failed, ECONNREFUSED};
      asked_ = true;
      writable.set();
      return {net::IoStatus::would_block};
    }
    [[nodiscard]] std::size_t unread_by_peer() const override { return 0; }
    void write_first(std::string_view) override {}
    bool idle_and_open() override { return false; }
    void shutdown_write() override {}

   private:
    bool asked_ = false;
  };
  std::vector<std::unique_ptr<net::MemoryStream>> silent_;
};

}  // namespace dao::upstream
