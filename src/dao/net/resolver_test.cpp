// The resolver against a small DNS server on loopback whose answers each test scripts.
#include "dao/net/resolver.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace dao::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::StartsWith;

constexpr int kA = 1;
constexpr int kAaaa = 28;
constexpr int kServfail = 2;
constexpr int kNxdomain = 3;
constexpr int kRefused = 5;

struct Reply {
  int rcode = 0;
  std::vector<std::string> addresses{};
  std::uint32_t ttl = 0;
  bool silent = false;
  bool truncated = false;  // over UDP; over TCP the whole answer
};

void put16(std::string& out, unsigned value) {
  out += static_cast<char>(value >> 8U);
  out += static_cast<char>(value & 0xffU);
}

// UDP and TCP on the same port of 127.0.0.1.
class DnsServer {
 public:
  DnsServer() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) {  // the kernel's choice for UDP may be taken for TCP
      udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      address.sin_port = 0;
      EXPECT_EQ(bind(udp_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
      address.sin_port = htons(SocketAddress::local_of(udp_).port());
      if (bind(tcp_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) break;
      close(udp_);
      close(tcp_);
    }
    EXPECT_EQ(listen(tcp_, 16), 0);
    stop_ = eventfd(0, EFD_CLOEXEC);
    thread_ = std::thread([this] { serve(); });
  }
  ~DnsServer() {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(stop_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    thread_.join();
    for (const int fd : {udp_, tcp_, stop_}) close(fd);
  }
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;

  [[nodiscard]] std::string address() const { return SocketAddress::local_of(udp_).text(); }
  // Until it is set, a type has no records: NODATA.
  void answer(int type, Reply reply) {
    const std::lock_guard lock(mutex_);
    (type == kA ? a_ : aaaa_) = std::move(reply);
  }
  [[nodiscard]] int queries() const {
    const std::lock_guard lock(mutex_);
    return queries_;
  }
  // Of them, those for a name, given by its first label.
  [[nodiscard]] int queries(const std::string& label) const {
    const std::lock_guard lock(mutex_);
    const auto found = queries_by_label_.find(label);
    return found == queries_by_label_.end() ? 0 : found->second;
  }
  // Waits until `count` questions have come.
  void wait_for_queries(int count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(asked_.wait_for(lock, seconds(20), [&] { return queries_ >= count; }));
  }

 private:
  void serve() {
    for (;;) {
      pollfd fds[] = {{udp_, POLLIN, 0}, {tcp_, POLLIN, 0}, {stop_, POLLIN, 0}};
      poll(fds, 3, -1);
      if (fds[2].revents != 0) return;
      char packet[2048];
      if (fds[0].revents != 0) {
        sockaddr_storage from{};
        socklen_t length = sizeof from;
        const ssize_t size = recvfrom(udp_, packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &length);
        const std::string response = respond({packet, static_cast<std::size_t>(std::max<ssize_t>(size, 0))}, false);
        if (!response.empty()) {
          sendto(udp_, response.data(), response.size(), 0, reinterpret_cast<sockaddr*>(&from), length);
        }
      }
      if (fds[1].revents != 0) {
        const int fd = accept(tcp_, nullptr, nullptr);
        const timeval patience{.tv_sec = 5, .tv_usec = 0};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        unsigned char size[2] = {};
        if (recv(fd, size, 2, MSG_WAITALL) == 2) {
          const auto bytes = static_cast<std::size_t>(size[0] << 8U | size[1]);
          if (bytes <= sizeof packet && recv(fd, packet, bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes)) {
            const std::string response = respond({packet, bytes}, true);
            std::string framed;
            put16(framed, static_cast<unsigned>(response.size()));
            framed += response;
            send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
          }
        }
        close(fd);
      }
    }
  }

  // RFC 1035 4.1: header, question, answers that point at the question's name.
  std::string respond(const std::string& query, bool tcp) {
    std::size_t end = 12;
    while (end < query.size() && query[end] != 0) end += static_cast<unsigned char>(query[end]) + 1U;
    end += 5;
    if (end > query.size()) return {};
    const int type = static_cast<unsigned char>(query[end - 3]);
    Reply reply;
    {
      const std::lock_guard lock(mutex_);
      ++queries_;
      ++queries_by_label_[query.substr(13, static_cast<unsigned char>(query[12]))];
      reply = type == kA ? a_ : aaaa_;
      asked_.notify_all();
    }
    if (reply.silent) return {};
    const bool cut = reply.truncated && !tcp;
    std::string out = query.substr(0, 2);
    put16(out, 0x8180U | (cut ? 0x0200U : 0U) | static_cast<unsigned>(reply.rcode));
    put16(out, 1);
    put16(out, cut ? 0 : static_cast<unsigned>(reply.addresses.size()));
    put16(out, 0);
    put16(out, 0);
    out += query.substr(12, end - 12);
    if (cut) return out;
    for (const std::string& text : reply.addresses) {
      unsigned char bytes[16];
      EXPECT_EQ(inet_pton(type == kA ? AF_INET : AF_INET6, text.c_str(), bytes), 1);
      put16(out, 0xc00c);
      put16(out, static_cast<unsigned>(type));
      put16(out, 1);
      put16(out, reply.ttl >> 16U);
      put16(out, reply.ttl & 0xffffU);
      const std::size_t size = type == kA ? 4 : 16;
      put16(out, static_cast<unsigned>(size));
      out.append(reinterpret_cast<const char*>(bytes), size);
    }
    return out;
  }

  int udp_ = -1;
  int tcp_ = -1;
  int stop_ = -1;
  mutable std::mutex mutex_;
  std::condition_variable asked_;
  Reply a_;
  Reply aaaa_;
  int queries_ = 0;
  std::map<std::string, int> queries_by_label_;
  std::thread thread_;
};

// What one watcher was told.
class Told {
 public:
  Resolver::Callback callback() {
    return [this](const Resolution& resolution) {
      const std::lock_guard lock(mutex_);
      history_.push_back(resolution);
      changed_.notify_all();
    };
  }
  // The n-th thing it was told, from 0.
  Resolution wait_for(std::size_t n) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_for(lock, seconds(20), [&] { return history_.size() > n; });
    EXPECT_TRUE(came) << "nothing was told within 20 s";
    return came ? history_[n] : Resolution{};
  }
  [[nodiscard]] std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return history_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Resolution> history_;
};

std::vector<std::string> texts(const Resolution& resolution) {
  std::vector<std::string> result;
  for (const SocketAddress& address : resolution.addresses) result.push_back(address.text());
  return result;
}

Resolver::Settings quick(const DnsServer& server) {
  return {.servers = {server.address()}, .timeout = seconds(20), .min_ttl = milliseconds(20), .max_ttl = seconds(60)};
}

TEST(Resolver, BothFamiliesSortedAndWithoutDuplicates) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.2", "10.0.0.1", "10.0.0.2"}, .ttl = 60});
  server.answer(kAaaa, {.addresses = {"2001:db8::2", "2001:db8::1"}, .ttl = 60});
  Told told;
  Resolver resolver(quick(server));
  resolver.watch("Two.Test", 8080, told.callback());
  // The families arrive in any order; both are there after the second at the latest.
  Resolution last = told.wait_for(0);
  if (last.addresses.size() < 4) last = told.wait_for(1);
  EXPECT_THAT(texts(last), ElementsAre("10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:8080", "[2001:db8::2]:8080"));
  EXPECT_FALSE(last.error);
}

TEST(Resolver, RefreshAtTheEndOfTheTtlPicksUpOtherAddresses) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 0});
  Told told;
  Resolver resolver(quick(server));
  resolver.watch("moves.test", 80, told.callback());
  EXPECT_THAT(texts(told.wait_for(0)), ElementsAre("10.0.0.1:80"));
  server.wait_for_queries(6);  // refreshed without news
  EXPECT_EQ(told.count(), 1U);
  server.answer(kA, {.addresses = {"10.0.0.3"}, .ttl = 60});
  EXPECT_THAT(texts(told.wait_for(1)), ElementsAre("10.0.0.3:80"));
}

TEST(Resolver, ATtlIsNotCutShort) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  Told told;
  Told other;
  Resolver resolver(quick(server));
  resolver.watch("stays.test", 80, told.callback());
  told.wait_for(0);
  server.wait_for_queries(2);
  resolver.watch("other.test", 80, other.callback());  // passes through the resolver's loop once more
  other.wait_for(0);
  server.wait_for_queries(4);
  EXPECT_EQ(server.queries(), 4);
}

TEST(Resolver, OneLookupServesSeveralWatchersOfAName) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  Told first;
  Told second;
  Resolver resolver(quick(server));
  resolver.watch("shared.test", 80, first.callback());
  EXPECT_THAT(texts(first.wait_for(0)), ElementsAre("10.0.0.1:80"));
  resolver.watch("SHARED.test", 81, second.callback());
  EXPECT_THAT(texts(second.wait_for(0)), ElementsAre("10.0.0.1:81"));
  server.wait_for_queries(2);
  EXPECT_EQ(server.queries(), 2);
}

TEST(Resolver, OneFamilyDoesNotWaitForTheOther) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  server.answer(kAaaa, {.silent = true});
  Told told;
  auto settings = quick(server);
  settings.timeout = seconds(600);
  Resolver resolver(settings);
  resolver.watch("half.test", 80, told.callback());
  const Resolution resolution = told.wait_for(0);
  EXPECT_THAT(texts(resolution), ElementsAre("10.0.0.1:80"));
  EXPECT_FALSE(resolution.error);
}

struct Failure {
  const char* name;
  Reply reply;
  ErrorKind kind;
  const char* detail;

  friend void PrintTo(const Failure& failure, std::ostream* out) { *out << failure.name; }
};

class ResolverFailure : public testing::TestWithParam<Failure> {};

TEST_P(ResolverFailure, IsToldKeepsTheAddressesAndIsRecoveredFrom) {
  DnsServer server;
  server.answer(kA, GetParam().reply);
  server.answer(kAaaa, GetParam().reply);
  Told told;
  auto settings = quick(server);
  if (GetParam().reply.silent) settings.timeout = milliseconds(300);
  Resolver resolver(settings);
  resolver.watch("ill.test", 80, told.callback());

  const auto expect_error = [](const Resolution& resolution) {
    ASSERT_TRUE(resolution.error);
    EXPECT_EQ(resolution.error->kind, GetParam().kind);
    EXPECT_EQ(resolution.error->origin, Origin::backend);
    EXPECT_THAT(std::string{resolution.error->detail}, StartsWith(GetParam().detail));
  };
  Resolution resolution = told.wait_for(0);
  expect_error(resolution);
  EXPECT_TRUE(resolution.addresses.empty());

  server.answer(kA, {.addresses = {"10.0.0.9"}, .ttl = 0});
  resolution = told.wait_for(1);
  EXPECT_THAT(texts(resolution), ElementsAre("10.0.0.9:80"));
  EXPECT_FALSE(resolution.error);

  server.answer(kA, GetParam().reply);
  resolution = told.wait_for(2);
  expect_error(resolution);
  EXPECT_THAT(texts(resolution), ElementsAre("10.0.0.9:80"));

  server.answer(kA, {.addresses = {"10.0.0.9"}, .ttl = 60});
  resolution = told.wait_for(3);
  EXPECT_THAT(texts(resolution), ElementsAre("10.0.0.9:80"));
  EXPECT_FALSE(resolution.error);
}

INSTANTIATE_TEST_SUITE_P(Dns, ResolverFailure,
                         testing::Values(Failure{"nxdomain", {.rcode = kNxdomain}, ErrorKind::dns_error, "NXDOMAIN"},
                                         Failure{"nodata", {}, ErrorKind::dns_error, "NODATA"},
                                         Failure{"servfail", {.rcode = kServfail}, ErrorKind::dns_error, "SERVFAIL"},
                                         Failure{"refused", {.rcode = kRefused}, ErrorKind::dns_error, "REFUSED"},
                                         Failure{"silent", {.silent = true}, ErrorKind::dns_timeout, "TIMEOUT"}),
                         [](const auto& instance) { return std::string{instance.param.name}; });

TEST(Resolver, AFamilyThatIsGoneGoesOneThatFailsStays) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 0});
  server.answer(kAaaa, {.addresses = {"2001:db8::1"}, .ttl = 0});
  Told told;
  Resolver resolver(quick(server));
  resolver.watch("family.test", 80, told.callback());
  std::size_t n = 0;
  if (told.wait_for(n).addresses.size() < 2) ++n;
  EXPECT_EQ(told.wait_for(n).addresses.size(), 2U);

  server.answer(kAaaa, {.rcode = kServfail});
  server.wait_for_queries(server.queries() + 8);
  EXPECT_EQ(told.count(), n + 1);

  server.answer(kAaaa, {});
  EXPECT_THAT(texts(told.wait_for(n + 1)), ElementsAre("10.0.0.1:80"));
}

TEST(Resolver, NoServerThere) {
  std::string address;
  {
    const DnsServer gone;
    address = gone.address();
  }
  Told told;
  Resolver resolver({.servers = {address}, .timeout = milliseconds(2000), .min_ttl = milliseconds(20)});
  resolver.watch("nobody.test", 80, told.callback());
  const Resolution resolution = told.wait_for(0);
  ASSERT_TRUE(resolution.error);
  EXPECT_TRUE(resolution.addresses.empty());
}

TEST(Resolver, FailuresAreNotRepeatedInAStorm) {
  DnsServer server;
  server.answer(kA, {.rcode = kNxdomain});
  server.answer(kAaaa, {.rcode = kNxdomain});
  Told told;
  auto settings = quick(server);
  settings.min_ttl = seconds(1);
  const auto start = std::chrono::steady_clock::now();
  Resolver resolver(settings);
  resolver.watch("missing.test", 80, told.callback());
  told.wait_for(0);
  const int once = server.queries();
  server.wait_for_queries(once + 1);
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(500));
}

TEST(Resolver, ManyAddressesAreBounded) {
  DnsServer server;
  std::vector<std::string> addresses;
  for (int i = 0; i < 300; ++i) addresses.push_back("10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  server.answer(kA, {.addresses = addresses, .ttl = 60, .truncated = true});
  Told told;
  Resolver resolver(quick(server));
  resolver.watch("many.test", 80, told.callback());
  const Resolution resolution = told.wait_for(0);
  EXPECT_EQ(resolution.addresses.size(), Resolver::kMaxAddresses);
  EXPECT_EQ(resolution.addresses.front().text(), "10.0.0.0:80");
  EXPECT_EQ(resolution.addresses.back().text(), "10.0.0.255:80");
}

TEST(Resolver, MoreNamesThanAreLookedUpAtOnce) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  constexpr std::size_t kNames = Resolver::kMaxLookups * 2 + 1;
  std::vector<Told> told(kNames);
  Resolver resolver(quick(server));
  for (std::size_t i = 0; i < kNames; ++i) {
    resolver.watch("n" + std::to_string(i) + ".test", static_cast<std::uint16_t>(i), told[i].callback());
  }
  for (std::size_t i = 0; i < kNames; ++i) {
    EXPECT_THAT(texts(told[i].wait_for(0)), ElementsAre("10.0.0.1:" + std::to_string(i)));
  }
}

TEST(Resolver, TheHostsFileComesFirst) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  Told told;
  Resolver resolver(quick(server));
  resolver.watch("localhost", 80, told.callback());
  const Resolution resolution = told.wait_for(0);
  EXPECT_FALSE(resolution.error);
  EXPECT_THAT(texts(resolution), testing::Contains(testing::AnyOf("127.0.0.1:80", "[::1]:80")));
  EXPECT_EQ(server.queries(), 0);
}

// Returns once the resolver has heard of all that was asked of it before: nothing of it can be on its way any more.
void let_it_hear(Resolver& resolver) {
  const auto told = std::make_shared<Told>();
  resolver.watch("localhost", 80, [told, tell = told->callback()](const Resolution& resolution) { tell(resolution); });
  told->wait_for(0);
}

TEST(Resolver, WhoStopsWatchingIsNotToldOfChanges) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 0});
  Told leaver;
  Told stayer;
  Resolver resolver(quick(server));
  const std::uint64_t watch = resolver.watch("shared.test", 80, leaver.callback());
  resolver.watch("shared.test", 81, stayer.callback());
  leaver.wait_for(0);
  stayer.wait_for(0);
  resolver.unwatch(watch);
  let_it_hear(resolver);
  server.answer(kA, {.addresses = {"10.0.0.2"}, .ttl = 0});
  EXPECT_THAT(texts(stayer.wait_for(1)), ElementsAre("10.0.0.2:81"));
  EXPECT_EQ(leaver.count(), 1U);
}

TEST(Resolver, ANameThatNobodyWatchesAnyMoreIsNotLookedUp) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 0});
  Told gone;
  Resolver resolver(quick(server));
  const std::uint64_t watch = resolver.watch("gone.test", 80, gone.callback());
  resolver.watch("stays.test", 80, [](const Resolution&) {});
  gone.wait_for(0);
  resolver.unwatch(watch);
  let_it_hear(resolver);
  // What was asked before may wait in the server's socket still: two names, A and AAAA of each.
  server.wait_for_queries(server.queries() + 4);
  const int asked = server.queries("gone");
  server.wait_for_queries(server.queries() + 10);
  EXPECT_EQ(server.queries("gone"), asked);
}

TEST(Resolver, AWatchThatIsTakenBackAtOnceIsNeverTold) {
  DnsServer server;
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  Told never;
  Told stayer;
  Resolver resolver(quick(server));
  // On the resolver's own thread, which therefore hears of both at once.
  resolver.watch("stays.test", 80, [&, tell = stayer.callback()](const Resolution& resolution) {
    resolver.unwatch(resolver.watch("never.test", 80, never.callback()));
    tell(resolution);
  });
  stayer.wait_for(0);
  let_it_hear(resolver);
  EXPECT_EQ(never.count(), 0U);
  EXPECT_EQ(server.queries("never"), 0);
}

TEST(Resolver, UnwatchCallsOffAPendingLookup) {
  DnsServer server;
  server.answer(kA, {.silent = true});
  server.answer(kAaaa, {.silent = true});
  Told told;
  Resolver resolver(quick(server));
  const std::uint64_t watch = resolver.watch("slow.test", 80, told.callback());
  server.wait_for_queries(2);
  resolver.unwatch(watch);
  server.answer(kA, {.addresses = {"10.0.0.1"}, .ttl = 60});
  server.answer(kAaaa, {});
  Told other;
  resolver.watch("slow.test", 81, other.callback());
  EXPECT_THAT(texts(other.wait_for(0)), ElementsAre("10.0.0.1:81"));
  EXPECT_EQ(told.count(), 0U);
}

TEST(Resolver, StopsWhileAQueryIsPending) {
  DnsServer server;
  server.answer(kA, {.silent = true});
  server.answer(kAaaa, {.silent = true});
  Told told;
  auto settings = quick(server);
  settings.timeout = seconds(600);
  Resolver resolver(settings);
  resolver.watch("slow.test", 80, told.callback());
  server.wait_for_queries(2);
  resolver.stop();
  EXPECT_EQ(told.count(), 0U);
}

}  // namespace
}  // namespace dao::net
