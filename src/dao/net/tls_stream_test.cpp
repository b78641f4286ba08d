// Two ends of TLS on one EpollLoop, over TCP on loopback.
#include "dao/net/tls_stream.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "dao/net/listener.h"
#include "dao/net/tls_test_certificates.h"
#include "dao/rt/join.h"

namespace dao::net {
namespace {

using test::Identity;

class TlsStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "daoXXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory = path;
    authority = test::make_identity({.names = "", .subject = "Test CA"});
    identity = test::make_identity({.names = "DNS:example.org,IP:127.0.0.1", .issuer = &authority});
    ca_file = test::write_file(path + "/ca.pem", authority.certificate_pem());
    server_context = make_tls_context(true);
    SSL_CTX_use_certificate(server_context.get(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(server_context.get(), identity.key.get());
    const auto opened = open_listeners(*SocketAddress::from_ip("127.0.0.1", 0), 1);
    ASSERT_TRUE(opened);
    listener = opened->fds.front();
    address = opened->address;
  }
  void TearDown() override {
    client.reset();
    server.reset();
    close(listener);
    std::filesystem::remove_all(directory);
  }

  [[nodiscard]] std::shared_ptr<const TlsClientContext> client_context(TlsClientSettings settings) const {
    auto made = TlsClientContext::make(settings);
    EXPECT_TRUE(made) << made.error();
    return made ? *made : nullptr;
  }
  [[nodiscard]] TlsClientSettings trusting() const { return {.server_name = "example.org", .ca_file = ca_file}; }

  [[nodiscard]] int accepted() const {
    pollfd waiting{.fd = listener, .events = POLLIN, .revents = 0};
    poll(&waiting, 1, 10'000);
    return accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }
  // A connected pair, before its handshake.
  void connect(const TlsClientContext& context, std::shared_ptr<TlsSessionSlot> session = nullptr) {
    auto made = TlsStream::connect(loop, address, context, std::move(session));
    ASSERT_TRUE(made) << describe(made.error());
    client = std::move(*made);
    server = std::make_unique<TlsStream>(loop, accepted());
  }
  [[nodiscard]] Instant soon() const { return loop.precise_now() + std::chrono::seconds(20); }

  template <class T>
  T run(rt::Task<T> task) {
    std::optional<T> result;
    loop.spawn(finish(std::move(task), result));
    loop.run();
    return *std::move(result);
  }
  template <class T>
  rt::Task<> finish(rt::Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
    loop.request_stop();
  }

  // What server and client say of their handshake.
  std::pair<Result<>, Result<>> handshake() {
    return run(rt::join(server->accept(loop, server_context.get(), turns, soon(), nullptr),
                        client->finish_connect(loop, soon(), nullptr)));
  }

  rt::Task<Result<>> write(TlsStream& to, std::string text) {
    iovec piece{text.data(), text.size()};
    while (piece.iov_len > 0) {
      const IoResult wrote = to.try_write({&piece, 1});
      if (wrote.status == IoStatus::failed) co_return std::unexpected(to.error_of(wrote, Origin::us));
      if (wrote.status == IoStatus::ok) {
        piece = {static_cast<char*>(piece.iov_base) + wrote.bytes, piece.iov_len - wrote.bytes};
        continue;
      }
      const rt::Wake wake = co_await to.wait_writable(loop, soon(), nullptr);
      if (wake != rt::Wake::ready) co_return std::unexpected(Error{.kind = ErrorKind::timeout_write});
    }
    co_return Result<>{};
  }
  // Until `size` bytes have come, or the end.
  rt::Task<Result<std::string>> read(TlsStream& from, std::size_t size, std::size_t room = 70'000) {
    std::string all;
    std::string buffer(room, '\0');
    while (all.size() < size) {
      const IoResult got = from.try_read(buffer);
      if (got.status == IoStatus::end) break;
      if (got.status == IoStatus::failed) co_return std::unexpected(from.error_of(got, Origin::us));
      if (got.status == IoStatus::ok) {
        all.append(buffer, 0, got.bytes);
        continue;
      }
      if (from.may_read()) co_return std::unexpected(Error{.detail = "would block, and may read"});
      const rt::Wake wake = co_await from.wait_readable(loop, soon(), nullptr);
      if (wake != rt::Wake::ready) co_return std::unexpected(Error{.kind = ErrorKind::timeout_body});
    }
    co_return all;
  }

  const SystemClock clock;
  rt::EpollLoop loop{clock};
  std::filesystem::path directory;
  Identity authority;
  Identity identity;
  std::string ca_file;
  SslContextPtr server_context;
  int listener = -1;
  HandshakeTurns turns;
  SocketAddress address = *SocketAddress::from_ip("127.0.0.1", 0);
  std::unique_ptr<TlsStream> client;
  std::unique_ptr<TlsStream> server;
};

TEST_F(TlsStreamTest, BothSidesAgree) {
  const auto context = client_context(trusting());
  connect(*context);
  EXPECT_EQ(server->tls(), nullptr);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting) << describe(accepting.error());
  ASSERT_TRUE(connecting) << describe(connecting.error());
  ASSERT_NE(server->tls(), nullptr);
  EXPECT_EQ(server->tls()->version, "TLSv1.3");
  EXPECT_EQ(server->tls()->server_name, "example.org");
  EXPECT_EQ(server->tls()->cipher, client->tls()->cipher);
  EXPECT_FALSE(server->tls()->resumed);
}

TEST_F(TlsStreamTest, WritingFinishesConnecting) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto serve = [this]() -> rt::Task<Result<std::string>> {
    auto accepting = server->accept(loop, server_context.get(), turns, soon(), nullptr);
    const Result<> done = co_await std::move(accepting);
    if (!done) co_return std::unexpected(done.error());
    auto reading = read(*server, 5);
    Result<std::string> got = co_await std::move(reading);
    co_return got;
  };
  const auto [got, sent] = run(rt::join(serve(), write(*client, "hello")));
  ASSERT_TRUE(sent) << describe(sent.error());
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(*got, "hello");
}

TEST_F(TlsStreamTest, ManyMegabytesPassBothWaysAtOnceThroughFullSockets) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SSL_CTX_set_max_proto_version(server_context.get(), version);
    const auto context = client_context(trusting());
    connect(*context);
    const auto [accepting, connecting] = handshake();
    ASSERT_TRUE(accepting && connecting);
    std::string up;
    std::string down;
    for (int i = 0; up.size() < 5'000'000; ++i) up += std::to_string(i);
    for (int i = 0; down.size() < 4'000'000; ++i) down += std::to_string(i * 7);
    const auto [sent, received] = run(rt::join(rt::join(write(*client, up), write(*server, down)),
                                               rt::join(read(*server, up.size()), read(*client, down.size(), 333))));
    ASSERT_TRUE(sent.first && sent.second);
    ASSERT_TRUE(received.first) << describe(received.first.error());
    ASSERT_TRUE(received.second) << describe(received.second.error());
    EXPECT_EQ(*received.first == up, true);
    EXPECT_EQ(*received.second == down, true);
  }
}

TEST_F(TlsStreamTest, PiecesOfAnySizeArriveInOrder) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  const std::string small = "head";
  const std::string large(40'000, 'b');
  const std::string empty;
  const std::string middle(16'384, 'm');
  const std::array<iovec, 5> pieces = {
      iovec{const_cast<char*>(small.data()), small.size()}, iovec{const_cast<char*>(empty.data()), 0},
      iovec{const_cast<char*>(large.data()), large.size()}, iovec{const_cast<char*>(middle.data()), middle.size()},
      iovec{const_cast<char*>(small.data()), small.size()}};
  const IoResult wrote = client->try_write(pieces);
  ASSERT_EQ(wrote.status, IoStatus::ok);
  const std::string all = small + large + middle + small;
  ASSERT_EQ(wrote.bytes, all.size());
  const Result<std::string> got = run(read(*server, all.size()));
  ASSERT_TRUE(got);
  EXPECT_EQ(*got == all, true);
}

TEST_F(TlsStreamTest, AWriterWhosePeerDoesNotReadIsStoppedAndLosesNothing) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  std::string data;
  for (int i = 0; data.size() < 30'000'000; ++i) data += std::to_string(i);
  iovec piece{data.data(), data.size()};
  std::size_t taken = 0;
  for (;;) {
    const IoResult wrote = client->try_write({&piece, 1});
    if (wrote.status != IoStatus::ok) {
      ASSERT_EQ(wrote.status, IoStatus::would_block);
      break;
    }
    taken += wrote.bytes;
    piece = {data.data() + taken, data.size() - taken};
  }
  ASSERT_GT(taken, 0U);
  ASSERT_LT(taken, data.size()) << "the kernel took it all: send more";
  const auto [sent, got] = run(rt::join(write(*client, data.substr(taken)), read(*server, data.size())));
  ASSERT_TRUE(sent) << describe(sent.error());
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(*got == data, true);
}

TEST_F(TlsStreamTest, AGoodbyeIsTheEnd) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  ASSERT_TRUE(run(write(*server, "all")));
  server->shutdown_write();
  const Result<std::string> got = run(read(*client, 100));
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(*got, "all");
  // The other direction goes on.
  const auto [sent, received] = run(rt::join(write(*client, "more"), read(*server, 4)));
  ASSERT_TRUE(sent && received);
  EXPECT_EQ(*received, "more");
}

TEST_F(TlsStreamTest, AServersEndWithoutAGoodbyeIsACut) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  ASSERT_TRUE(run(write(*server, "half")));
  shutdown(server->fd(), SHUT_WR);
  const Result<std::string> got = run(read(*client, 100));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::reset);
}

TEST_F(TlsStreamTest, AClientsEndWithoutAGoodbyeIsAnEnd) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  ASSERT_TRUE(run(write(*client, "all")));
  shutdown(client->fd(), SHUT_WR);
  const Result<std::string> got = run(read(*server, 100));
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(*got, "all");
}

TEST_F(TlsStreamTest, ASessionIsResumed) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    SSL_CTX_set_max_proto_version(server_context.get(), version);
    const auto context = client_context(trusting());
    const auto slot = std::make_shared<TlsSessionSlot>();
    for (const bool again : {false, true}) {
      connect(*context, slot);
      const auto [accepting, connecting] = handshake();
      ASSERT_TRUE(accepting && connecting);
      // The tickets of TLS 1.3 come with the first data.
      const auto [sent, got] = run(rt::join(write(*server, "x"), read(*client, 1)));
      ASSERT_TRUE(sent && got);
      EXPECT_EQ(server->tls()->resumed, again) << version;
      EXPECT_EQ(client->tls()->resumed, again) << version;
      // A server that leaves without a goodbye does not spoil its session.
      shutdown(server->fd(), SHUT_RDWR);
      ASSERT_FALSE(run(read(*client, 1)));
      client.reset();
    }
  }
}

TEST_F(TlsStreamTest, ATlsIdleConnectionHasNothingToRead) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  const auto [sent, got] = run(rt::join(write(*server, "answer"), read(*client, 6)));
  ASSERT_TRUE(sent && got);
  EXPECT_FALSE(client->may_read());
  EXPECT_TRUE(client->idle_and_open());
}

struct Refusal {
  const char* name;
  std::string_view names;
  long valid_seconds;
  bool known_authority;
  std::string_view detail;
};
class TlsVerificationTest : public TlsStreamTest, public testing::WithParamInterface<Refusal> {};

TEST_P(TlsVerificationTest, TheClientRefusesAndSaysWhy) {
  const Refusal& wrong = GetParam();
  const Identity bad = test::make_identity({.names = std::string(wrong.names),
                                            .valid_seconds = wrong.valid_seconds,
                                            .issuer = wrong.known_authority ? &authority : nullptr});
  SSL_CTX_use_certificate(server_context.get(), bad.certificate.get());
  SSL_CTX_use_PrivateKey(server_context.get(), bad.key.get());
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_FALSE(connecting);
  EXPECT_EQ(connecting.error().kind, ErrorKind::tls_certificate);
  EXPECT_EQ(connecting.error().origin, Origin::backend);
  EXPECT_EQ(connecting.error().detail, wrong.detail);
  ASSERT_FALSE(accepting);
  EXPECT_EQ(accepting.error().kind, ErrorKind::tls_alert);
  EXPECT_EQ(accepting.error().origin, Origin::client);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TlsVerificationTest,
                         testing::Values(Refusal{"Expired", "DNS:example.org", -60, true, "certificate has expired"},
                                         Refusal{"OtherName", "DNS:other.example", 3600, true, "hostname mismatch"},
                                         Refusal{"UnknownAuthority", "DNS:example.org", 3600, false,
                                                 "self-signed certificate"}),
                         [](const auto& instance) { return instance.param.name; });

TEST_F(TlsStreamTest, AnAddressIsLookedForAsAnAddress) {
  TlsClientSettings settings = trusting();
  settings.server_name = "127.0.0.1";
  const auto context = client_context(settings);
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  EXPECT_EQ(server->tls()->server_name, "") << "RFC 6066 forbids to ask for an address";
}

// The peer closes with a reset; returns when the kernel knows of it, and the loop does not.
void reset_and_wait(std::unique_ptr<TlsStream>& peer, const TlsStream& own) {
  peer->abort();
  peer.reset();
  pollfd waiting{.fd = own.fd(), .events = 0, .revents = 0};
  ASSERT_EQ(poll(&waiting, 1, 10'000), 1);
  ASSERT_NE(waiting.revents & POLLHUP, 0);
}

TEST_F(TlsStreamTest, AWriteThatMeetsAResetSaysWhatTheServerHadSaid) {
  SSL_CTX_set_verify(server_context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(connecting) << "the client's handshake is over before the server judges it";
  ASSERT_FALSE(accepting);
  EXPECT_EQ(accepting.error().kind, ErrorKind::tls_certificate);
  reset_and_wait(server, *client);
  for (int again = 0; again < 2; ++again) {
    std::string text = "request";
    const iovec piece{text.data(), text.size()};
    const IoResult wrote = client->try_write({&piece, 1});
    ASSERT_EQ(wrote.status, IoStatus::failed);
    EXPECT_EQ(client->error_of(wrote, Origin::backend).kind, ErrorKind::tls_alert);
    EXPECT_EQ(client->error_of(wrote, Origin::backend).origin, Origin::backend);
  }
}

TEST_F(TlsStreamTest, AWriteThatMeetsAResetLeavesWhatCameBeforeItToBeRead) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto [accepting, connecting] = handshake();
  ASSERT_TRUE(accepting && connecting);
  ASSERT_TRUE(run(write(*server, "answer")));
  reset_and_wait(server, *client);
  std::string text = "the rest of a request";
  const iovec piece{text.data(), text.size()};
  const IoResult wrote = client->try_write({&piece, 1});
  ASSERT_EQ(wrote.status, IoStatus::failed);
  EXPECT_EQ(client->error_of(wrote, Origin::backend).kind, ErrorKind::reset);
  const Result<std::string> got = run(read(*client, 6));
  ASSERT_TRUE(got) << describe(got.error());
  EXPECT_EQ(*got, "answer");
  EXPECT_FALSE(run(read(*client, 1))) << "no goodbye came: a cut";
}

TEST_F(TlsStreamTest, GarbageInsteadOfAHandshakeIsAProtocolError) {
  auto plain = SocketStream::connect(loop, address);
  ASSERT_TRUE(plain);
  server = std::make_unique<TlsStream>(loop, accepted());
  std::string garbage = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const iovec piece{garbage.data(), garbage.size()};
  ASSERT_EQ((*plain)->try_write({&piece, 1}).status, IoStatus::ok);
  const Result<> accepting = run(server->accept(loop, server_context.get(), turns, soon(), nullptr));
  ASSERT_FALSE(accepting);
  EXPECT_EQ(accepting.error().kind, ErrorKind::tls_protocol);
  EXPECT_EQ(accepting.error().detail, "http request");
}

TEST_F(TlsStreamTest, ASilentClientTimesOutBeforeAndWithinItsHello) {
  for (const bool half : {false, true}) {
    auto plain = SocketStream::connect(loop, address);
    ASSERT_TRUE(plain);
    server = std::make_unique<TlsStream>(loop, accepted());
    std::string begun = "\x16\x03\x01\x02";
    const iovec piece{begun.data(), begun.size()};
    if (half) {
      ASSERT_EQ((*plain)->try_write({&piece, 1}).status, IoStatus::ok);
    }
    const Instant deadline = loop.precise_now() + std::chrono::milliseconds(30);
    const Result<> accepting = run(server->accept(loop, server_context.get(), turns, deadline, nullptr));
    ASSERT_FALSE(accepting);
    EXPECT_EQ(accepting.error().kind, ErrorKind::timeout_head);
    EXPECT_GE(loop.precise_now(), deadline);
  }
}

TEST_F(TlsStreamTest, RenegotiationIsRefused) {
  SSL_CTX_set_max_proto_version(server_context.get(), TLS1_2_VERSION);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fd, address.raw(), address.length()), 0);
  server = std::make_unique<TlsStream>(loop, accepted());
  // A plain OpenSSL client on a blocking socket, by turns with the server.
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(SSL_new(context.get()));
  SSL_set_fd(ssl.get(), fd);
  std::thread peer([&] {
    ASSERT_EQ(SSL_connect(ssl.get()), 1);
    ASSERT_EQ(SSL_renegotiate(ssl.get()), 1);
    EXPECT_NE(SSL_do_handshake(ssl.get()), 1);
    shutdown(fd, SHUT_WR);
  });
  const Result<> accepting = run(server->accept(loop, server_context.get(), turns, soon(), nullptr));
  EXPECT_TRUE(accepting);
  const Result<std::string> got = run(read(*server, 1));
  peer.join();
  EXPECT_TRUE(!got || got->empty());
  close(fd);
}

TEST_F(TlsStreamTest, AKeyUpdateFromThePeerIsFollowed) {
  const auto context = client_context(trusting());
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fd, address.raw(), address.length()), 0);
  server = std::make_unique<TlsStream>(loop, accepted());
  const SslPtr ssl(SSL_new(context->get()));
  SSL_set_mode(ssl.get(), SSL_MODE_AUTO_RETRY);
  SSL_set_fd(ssl.get(), fd);
  SSL_set_tlsext_host_name(ssl.get(), "example.org");
  std::string answer(4, '\0');
  std::thread peer([&] {
    ASSERT_EQ(SSL_connect(ssl.get()), 1);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(SSL_key_update(ssl.get(), SSL_KEY_UPDATE_REQUESTED), 1);
      ASSERT_EQ(SSL_write(ssl.get(), "ping", 4), 4);
      ASSERT_EQ(SSL_read(ssl.get(), answer.data(), 4), 4);
    }
  });
  ASSERT_TRUE(run(server->accept(loop, server_context.get(), turns, soon(), nullptr)));
  for (int i = 0; i < 3; ++i) {
    const Result<std::string> got = run(read(*server, 4));
    ASSERT_TRUE(got) << describe(got.error());
    EXPECT_EQ(*got, "ping");
    ASSERT_TRUE(run(write(*server, "pong")));
  }
  peer.join();
  EXPECT_EQ(answer, "pong");
  close(fd);
}

TEST_F(TlsStreamTest, APeerThatOnlySendsKeyUpdatesIsCutOff) {
  const auto context = client_context(trusting());
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(fd, address.raw(), address.length()), 0);
  server = std::make_unique<TlsStream>(loop, accepted());
  const SslPtr ssl(SSL_new(context->get()));
  SSL_set_mode(ssl.get(), SSL_MODE_AUTO_RETRY);
  SSL_set_fd(ssl.get(), fd);
  SSL_set_tlsext_host_name(ssl.get(), "example.org");
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL's own sockets raise it
  std::thread peer([&] {
    ASSERT_EQ(SSL_connect(ssl.get()), 1);
    for (int i = 0; i < 100'000; ++i) {
      if (SSL_key_update(ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1 || SSL_do_handshake(ssl.get()) != 1) break;
    }
  });
  ASSERT_TRUE(run(server->accept(loop, server_context.get(), turns, soon(), nullptr)));
  const Result<std::string> got = run(read(*server, 1));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::tls_protocol);
  shutdown(fd, SHUT_RDWR);
  peer.join();
  close(fd);
}

TEST_F(TlsStreamTest, AClientThatLeavesBeforeItsTurnCostsNoStep) {
  const auto context = client_context(trusting());
  connect(*context);
  const auto hello_and_leave = [this]() -> rt::Task<Result<>> {
    auto beginning = client->finish_connect(loop, loop.precise_now() + std::chrono::milliseconds(20), nullptr);
    Result<> begun = co_await std::move(beginning);
    client.reset();
    co_return begun;
  };
  {
    const HandshakeTurns::Place somebody_else(turns);
    const auto [accepted, left] =
        run(rt::join(server->accept(loop, server_context.get(), turns, soon(), nullptr), hello_and_leave()));
    ASSERT_FALSE(left);
    EXPECT_EQ(left.error().kind, ErrorKind::timeout_connect) << "nobody answered the hello";
    ASSERT_FALSE(accepted);
    EXPECT_EQ(accepted.error().kind, ErrorKind::closed);
    EXPECT_EQ(accepted.error().detail, "closed before its handshake");
  }
  EXPECT_FALSE(turns.anybody_waits());
}

TEST_F(TlsStreamTest, AHandshakeThatNeverGetsItsTurnEndsInTime) {
  const auto context = client_context(trusting());
  connect(*context);
  const HandshakeTurns::Place somebody_else(turns);
  const Instant deadline = loop.precise_now() + std::chrono::milliseconds(50);
  const auto [accepted, connected] =
      run(rt::join(server->accept(loop, server_context.get(), turns, deadline, nullptr),
                   client->finish_connect(loop, loop.precise_now() + std::chrono::milliseconds(100), nullptr)));
  ASSERT_FALSE(accepted);
  EXPECT_EQ(accepted.error().kind, ErrorKind::timeout_head);
  EXPECT_FALSE(connected);
}

TEST(TlsClientContextTest, FilesThatCannotBeUsedAreNamed) {
  const auto no_ca = TlsClientContext::make({.server_name = "a", .ca_file = "/nonexistent/ca.pem"});
  ASSERT_FALSE(no_ca);
  EXPECT_NE(no_ca.error().find("/nonexistent/ca.pem"), std::string::npos) << no_ca.error();
  const auto no_certificate =
      TlsClientContext::make({.server_name = "a", .verify = false, .certificate_file = "/nonexistent/c.pem"});
  ASSERT_FALSE(no_certificate);
  EXPECT_NE(no_certificate.error().find("/nonexistent/c.pem"), std::string::npos) << no_certificate.error();
}

}  // namespace
}  // namespace dao::net
