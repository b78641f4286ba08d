// One resolution of one name: /etc/hosts, else A and AAAA side by side. Driven by its owner's poll loop; one thread.
//
// A c-ares channel of its own each time: a changed resolv.conf is seen, every lookup has fresh source ports, and giving
// one up touches no other. Sockets are learnt from c-ares' callback, because its fd_set interface ends at descriptor
// 1023 and a proxy has more.
#pragma once

#include <ares.h>
#include <poll.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/net/address.h"

namespace dao::net {

class DnsLookup {
 public:
  enum class Outcome : std::uint8_t { pending, found, absent, failed };
  struct Answer {
    Outcome outcome = Outcome::pending;
    std::vector<SocketAddress> addresses;  // port 0, in the order they came
    std::chrono::seconds ttl{0};           // the least of the records', aliases included
    std::optional<Error> error;            // absent or failed
  };

  // `servers` as ares_set_servers_ports_csv() takes them; empty: the system's.
  DnsLookup(const std::string& host, const std::string& servers, Milliseconds timeout, Instant now);
  ~DnsLookup();
  DnsLookup(const DnsLookup&) = delete;
  DnsLookup& operator=(const DnsLookup&) = delete;

  [[nodiscard]] bool ended() const { return pending_ == 0; }
  [[nodiscard]] const Answer& v4() const { return queries_[0].answer; }
  [[nodiscard]] const Answer& v6() const { return queries_[1].answer; }

  // What to poll for, and until when.
  [[nodiscard]] std::span<const pollfd> sockets() const { return sockets_; }
  [[nodiscard]] Instant wakes_at(Instant now) const;
  // `polled`: what sockets() gave, with revents.
  void process(std::span<const pollfd> polled, Instant now);

 private:
  struct Query {
    DnsLookup* lookup = nullptr;
    Answer answer;
  };
  static void on_socket(void* self, ares_socket_t fd, int wants_read, int wants_write);
  static ares_ssize_t receive(ares_socket_t fd, void* into, std::size_t size, int flags, sockaddr* from,
                              ares_socklen_t* from_length, void* self);
  static void on_hosts_file(void* self, int status, int timeouts, ares_addrinfo* found);
  static void on_answer(void* query, int status, int timeouts, ares_addrinfo* found);
  [[nodiscard]] int open(const char* sources, const std::string& servers, Milliseconds timeout);
  void fail_both(int status);

  Instant deadline_;
  ares_channel channel_ = nullptr;
  std::vector<pollfd> sockets_;
  std::array<Query, 2> queries_;
  int pending_ = 0;
  int last_refusal_ = ARES_ECONNREFUSED;  // why the last server that answered would not
};

}  // namespace dao::net
