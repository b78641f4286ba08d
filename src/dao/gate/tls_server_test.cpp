// Which certificate a name gets, and whose sessions are resumed where.
#include "dao/gate/tls_server.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "dao/gate/tls_listener.h"
#include "dao/net/tls_test_certificates.h"

namespace dao::gate {
namespace {

using net::test::Identity;

class TlsServerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "daoXXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }

  config::CertificateFiles files(const Identity& identity, const std::string& name) {
    return {.cert = net::test::write_file(directory / (name + ".pem"), identity.certificate_pem()),
            .key = net::test::write_file(directory / (name + ".key"), identity.key_pem()),
            .ocsp = {}};
  }
  void add(const std::string& names, bool rsa = false) {
    const Identity identity = net::test::make_identity({.names = names, .rsa = rsa});
    listener.tls.certificates.push_back(files(identity, std::to_string(listener.tls.certificates.size())));
  }
  std::shared_ptr<const TlsServer> make() {
    auto made = TlsServer::make(listener, std::make_shared<TicketKeys>(std::chrono::hours(1)));
    EXPECT_TRUE(made) << made.error();
    return made ? *made : nullptr;
  }

  std::filesystem::path directory;
  config::Listener listener{.name = "a", .address = {}, .protocols = {.h1 = true}};
};

TEST_F(TlsServerTest, ExactNamesComeBeforeWildcardsAndTheFirstIsTheDefault) {
  add("DNS:first.test");
  add("DNS:*.wild.test,DNS:second.test");
  add("DNS:exact.wild.test");
  const auto server = make();
  ASSERT_NE(server, nullptr);
  SSL_CTX* first = server->context();
  SSL_CTX* second = server->context_for("second.test");
  EXPECT_NE(second, first);
  EXPECT_EQ(server->context_for("x.wild.test"), second);
  EXPECT_EQ(server->context_for("X.WILD.test."), second);
  const SSL_CTX* exact = server->context_for("exact.wild.test");
  EXPECT_NE(exact, second);
  EXPECT_NE(exact, first);
  for (const char* other : {"", ".", "first.test", "wild.test", ".wild.test", "y.x.wild.test", "test", "other.test"}) {
    EXPECT_EQ(server->context_for(other), first) << other;
  }
}

TEST_F(TlsServerTest, OneNameMayHaveAKeyOfEachType) {
  add("DNS:a.test");
  add("DNS:a.test", true);
  add("DNS:a.test");
  const auto server = make();
  ASSERT_NE(server, nullptr);
  int certificates = 0;
  for (long more = SSL_CTX_set_current_cert(server->context(), SSL_CERT_SET_FIRST); more == 1;
       more = SSL_CTX_set_current_cert(server->context(), SSL_CERT_SET_NEXT)) {
    ++certificates;
  }
  EXPECT_EQ(certificates, 2);
}

TEST_F(TlsServerTest, WhatCannotBeUsedIsNamed) {
  add("DNS:a.test");
  config::ListenerTls& tls = listener.tls;
  const auto refused = [this] {
    const auto made = TlsServer::make(listener, std::make_shared<TicketKeys>(std::chrono::hours(1)));
    return made ? std::string("accepted") : made.error();
  };
  tls.ciphers = "NO-SUCH-CIPHER";
  EXPECT_NE(refused().find("ciphers"), std::string::npos);
  tls.ciphers = config::kDefaultCiphers;
  tls.client_auth = config::ClientAuth::required;
  tls.client_ca = directory / "none.pem";
  EXPECT_NE(refused().find("none.pem"), std::string::npos);
  tls.client_auth = config::ClientAuth::off;
  const std::string key = std::exchange(tls.certificates[0].key, directory / "none.key");
  EXPECT_NE(refused().find("none.key"), std::string::npos);
  tls.certificates[0].key = key;
  net::test::write_file(key, "no key");
  EXPECT_NE(refused().find(key), std::string::npos);
}

// A handshake in memory: whether it resumed `session`, and the session of the client afterwards.
std::pair<bool, net::SslSessionPtr> shake_hands(const TlsListener& listener, SSL_SESSION* session) {
  const net::SslContextPtr context = net::make_tls_context(false);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);  // its tickets come before the end of the handshake
  const std::shared_ptr<const TlsServer> server_side = listener.server();
  const net::SslPtr client(SSL_new(context.get()));
  const net::SslPtr server(SSL_new(server_side->context()));
  BIO* of_client = nullptr;
  BIO* of_server = nullptr;
  EXPECT_EQ(BIO_new_bio_pair(&of_client, 0, &of_server, 0), 1);
  SSL_set_bio(client.get(), of_client, of_client);
  SSL_set_bio(server.get(), of_server, of_server);
  SSL_set_connect_state(client.get());
  SSL_set_accept_state(server.get());
  SSL_set_tlsext_host_name(client.get(), "a.test");
  if (session != nullptr) SSL_set_session(client.get(), session);
  for (int turn = 0; turn < 10; ++turn) {
    SSL_do_handshake(client.get());
    SSL_do_handshake(server.get());
  }
  EXPECT_EQ(SSL_is_init_finished(client.get()), 1);
  // A session whose connection ends without a goodbye is not resumed.
  SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return {SSL_session_reused(client.get()) == 1, net::SslSessionPtr(SSL_get1_session(client.get()))};
}

TEST_F(TlsServerTest, SessionsAreResumedOverConfigurations) {
  add("DNS:a.test");
  const auto first = TlsListener::make(listener);
  ASSERT_TRUE(first) << first.error();
  EXPECT_TRUE((*first)->is_for(listener));
  const auto [resumed, session] = shake_hands(**first, nullptr);
  EXPECT_FALSE(resumed);
  EXPECT_TRUE(shake_hands(**first, session.get()).first);

  listener.tls.certificates.clear();
  add("DNS:a.test");
  listener.protocols.h2 = true;
  EXPECT_FALSE((*first)->is_for(listener));
  const auto second = TlsListener::make(listener, first->get());
  ASSERT_TRUE(second) << second.error();
  EXPECT_TRUE(shake_hands(**second, session.get()).first);
  const auto stranger = TlsListener::make(listener);
  ASSERT_TRUE(stranger) << stranger.error();
  EXPECT_FALSE(shake_hands(**stranger, session.get()).first);

  listener.tls.session_timeout = std::chrono::seconds(5);
  const auto shorter = TlsListener::make(listener, second->get());
  ASSERT_TRUE(shorter) << shorter.error();
  EXPECT_FALSE(shake_hands(**shorter, session.get()).first) << "other lifetimes, other keys";
}

TEST_F(TlsServerTest, ChangedFilesAreReadAgainAndBadOnesAreNot) {
  add("DNS:a.test");
  auto made = TlsListener::make(listener);
  ASSERT_TRUE(made) << made.error();
  TlsListener& watched = **made;
  const auto first = watched.server();
  const auto follow = [&watched] {
    watched.follow_files();
    watched.follow_files();
  };
  follow();
  EXPECT_EQ(watched.server(), first);
  const config::CertificateFiles& used = listener.tls.certificates[0];
  net::test::write_file(used.cert, "broken");
  follow();
  EXPECT_EQ(watched.server(), first);
  const Identity fresh = net::test::make_identity({.names = "DNS:a.test"});
  net::test::write_file(used.cert, fresh.certificate_pem());
  follow();
  EXPECT_EQ(watched.server(), first) << "the key is still the old one";
  net::test::write_file(used.key, fresh.key_pem());
  watched.follow_files();
  EXPECT_EQ(watched.server(), first) << "perhaps somebody is still writing";
  watched.follow_files();
  EXPECT_NE(watched.server(), first);
}

}  // namespace
}  // namespace dao::gate
