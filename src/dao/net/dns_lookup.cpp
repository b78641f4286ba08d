#include "dao/net/dns_lookup.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

namespace dao::net {

namespace {

constexpr int kTries = 3;           // rounds over all servers
constexpr int kPacketBytes = 1232;  // EDNS: fits every path without fragments (DNS flag day 2020)
constexpr Milliseconds kLeastTry{50};

Error dns_error(int status) {
  Error error{.origin = Origin::backend, .kind = ErrorKind::dns_error};
  switch (status) {
    case ARES_ENOTFOUND:
      error.detail = "NXDOMAIN: the name does not exist";
      break;
    case ARES_ENODATA:
      error.detail = "NODATA: the name has no A or AAAA record";
      break;
    case ARES_ESERVFAIL:
      error.detail = "SERVFAIL: the DNS server could not resolve the name";
      break;
    case ARES_EREFUSED:
      error.detail = "REFUSED: the DNS server does not answer such questions";
      break;
    case ARES_ECONNREFUSED:
      error.detail = "UNREACHABLE: no DNS server could be asked";
      break;
    case ARES_EBADNAME:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
      error.detail = "FORMERR: the name is not one that DNS can carry";
      break;
    case ARES_EBADRESP:
      error.detail = "BADRESP: the DNS server's answer is malformed";
      break;
    case ARES_ETIMEOUT:
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
      error.kind = ErrorKind::dns_timeout;
      error.detail = "TIMEOUT: no DNS server answered in time";
      break;
    default:
      error.origin = Origin::us;
      error.detail = "INTERNAL: the resolver failed (out of memory or descriptors)";
      break;
  }
  return error;
}

void take(const ares_addrinfo& found, int family, DnsLookup::Answer& into) {
  bool first = true;
  const auto lower_ttl = [&](int seconds) {
    const std::chrono::seconds ttl{std::max(seconds, 0)};
    into.ttl = first ? ttl : std::min(into.ttl, ttl);
    first = false;
  };
  for (const ares_addrinfo_cname* alias = found.cnames; alias != nullptr; alias = alias->next) lower_ttl(alias->ttl);
  for (const ares_addrinfo_node* node = found.nodes; node != nullptr; node = node->ai_next) {
    if (node->ai_family != family) continue;
    lower_ttl(node->ai_ttl);
    into.addresses.push_back(SocketAddress::from_raw(node->ai_addr, node->ai_addrlen));
  }
  into.outcome = into.addresses.empty() ? DnsLookup::Outcome::absent : DnsLookup::Outcome::found;
}

int library_status() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  return status;
}

}  // namespace

DnsLookup::DnsLookup(const std::string& host, const std::string& servers, Milliseconds timeout, Instant now)
    : deadline_(now + timeout) {
  for (Query& query : queries_) query.lookup = this;

  // The hosts file is asked for both families at once: a name it has in one family must not be mixed with what DNS says
  // about the other.
  if (const int status = open("f", servers, timeout); status != ARES_SUCCESS) {
    fail_both(status);
    return;
  }
  ares_addrinfo_hints hints{};
  hints.ai_flags = ARES_AI_NOSORT;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, on_hosts_file, this);
  ares_destroy(channel_);
  channel_ = nullptr;
  if (v4().outcome != Outcome::pending) return;

  if (const int status = open("b", servers, timeout); status != ARES_SUCCESS) {
    fail_both(status);
    return;
  }
  pending_ = 2;
  hints.ai_family = AF_INET;
  ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, on_answer, &queries_[0]);
  hints.ai_family = AF_INET6;
  ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, on_answer, &queries_[1]);
}

DnsLookup::~DnsLookup() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

int DnsLookup::open(const char* sources, const std::string& servers, Milliseconds timeout) {
  if (const int status = library_status(); status != ARES_SUCCESS) return status;
  std::string lookups = sources;
  ares_options options{};
  options.flags = ARES_FLAG_EDNS;
  options.ednspsz = kPacketBytes;
  options.timeout = static_cast<int>(std::max(timeout / 4, kLeastTry).count());
  options.tries = kTries;
  options.lookups = lookups.data();
  options.sock_state_cb = on_socket;
  options.sock_state_cb_data = this;
  const int status = ares_init_options(&channel_, &options,
                                       ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                           ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
  if (status != ARES_SUCCESS) return status;
  // c-ares goes on to the next server after SERVFAIL and REFUSED, which is right, and in the end calls it all
  // "connection refused", which tells nobody anything. So its packets are looked at on the way in.
  static constexpr ares_socket_functions kSockets{
      .asocket = [](int family, int type, int protocol, void*) -> ares_socket_t {
        return ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
      },
      .aclose = [](ares_socket_t fd, void*) { return ::close(fd); },
      .aconnect = [](ares_socket_t fd, const sockaddr* to, ares_socklen_t length,
                     void*) { return ::connect(fd, to, length); },
      .arecvfrom = receive,
      .asendv = [](ares_socket_t fd, const iovec* pieces, int count, void*) -> ares_ssize_t {
        return ::writev(fd, pieces, count);
      },
  };
  ares_set_socket_functions(channel_, &kSockets, this);
  if (servers.empty()) return status;
  return ares_set_servers_ports_csv(channel_, servers.c_str());
}

void DnsLookup::fail_both(int status) {
  for (Query& query : queries_) {
    query.answer.outcome = Outcome::failed;
    query.answer.error = dns_error(status);
  }
}

Instant DnsLookup::wakes_at(Instant now) const {
  timeval longest{.tv_sec = 3600, .tv_usec = 0};
  timeval wait{};
  ares_timeout(channel_, &longest, &wait);
  return std::min(deadline_, now + std::chrono::seconds(wait.tv_sec) + std::chrono::microseconds(wait.tv_usec));
}

void DnsLookup::process(std::span<const pollfd> polled, Instant now) {
  for (const pollfd& socket : polled) {
    if (socket.revents == 0) continue;
    const bool may_read = (socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    const bool may_write = (socket.revents & POLLOUT) != 0;
    ares_process_fd(channel_, may_read ? socket.fd : ARES_SOCKET_BAD, may_write ? socket.fd : ARES_SOCKET_BAD);
  }
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // its own timeouts
  if (!ended() && now >= deadline_) ares_cancel(channel_);
}

void DnsLookup::on_socket(void* self, ares_socket_t fd, int wants_read, int wants_write) {
  auto& sockets = static_cast<DnsLookup*>(self)->sockets_;
  std::erase_if(sockets, [fd](const pollfd& known) { return known.fd == fd; });
  const int events = (wants_read != 0 ? POLLIN : 0) | (wants_write != 0 ? POLLOUT : 0);
  if (events != 0) sockets.push_back({.fd = fd, .events = static_cast<short>(events), .revents = 0});
}

ares_ssize_t DnsLookup::receive(ares_socket_t fd, void* into, std::size_t size, int flags, sockaddr* from,
                                ares_socklen_t* from_length, void* self) {
  const ares_ssize_t got = ::recvfrom(fd, into, size, flags, from, from_length);
  if (from != nullptr && got >= 12) {  // UDP: one whole message (RFC 1035 4.1.1)
    switch (static_cast<const unsigned char*>(into)[3] & 0x0fU) {
      case 2:
        static_cast<DnsLookup*>(self)->last_refusal_ = ARES_ESERVFAIL;
        break;
      case 4:
      case 5:
        static_cast<DnsLookup*>(self)->last_refusal_ = ARES_EREFUSED;
        break;
      default:
        break;
    }
  }
  return got;
}

void DnsLookup::on_hosts_file(void* self, int status, int, ares_addrinfo* found) {
  auto& lookup = *static_cast<DnsLookup*>(self);
  if (status == ARES_SUCCESS) {
    take(*found, AF_INET, lookup.queries_[0].answer);
    take(*found, AF_INET6, lookup.queries_[1].answer);
  }
  if (found != nullptr) ares_freeaddrinfo(found);
}

void DnsLookup::on_answer(void* query, int status, int, ares_addrinfo* found) {
  auto& [lookup, answer] = *static_cast<Query*>(query);
  if (status == ARES_SUCCESS) take(*found, &answer == &lookup->v4() ? AF_INET : AF_INET6, answer);
  if (answer.outcome != Outcome::found) {
    if (status == ARES_SUCCESS) status = ARES_ENODATA;
    if (status == ARES_ECONNREFUSED) status = lookup->last_refusal_;
    const bool absent = status == ARES_ENOTFOUND || status == ARES_ENODATA;
    answer.outcome = absent ? Outcome::absent : Outcome::failed;
    answer.error = dns_error(status);
  }
  if (found != nullptr) ares_freeaddrinfo(found);
  --lookup->pending_;
}

}  // namespace dao::net
