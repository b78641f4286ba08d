// OpenSSL's objects with owners, the settings that every context of DAO has, and the context of connections to one
// upstream. Contexts are shared by all threads once they are made.
#pragma once

#include <openssl/types.h>

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dao/base/error.h"

typedef struct ssl_session_st SSL_SESSION;  // openssl/types.h leaves it out

namespace dao::net {

struct TlsDeleter {
  void operator()(SSL* ssl) const;
  void operator()(SSL_CTX* context) const;
  void operator()(SSL_SESSION* session) const;
  void operator()(X509* certificate) const;
  void operator()(EVP_PKEY* key) const;
};
using SslPtr = std::unique_ptr<SSL, TlsDeleter>;
using SslContextPtr = std::unique_ptr<SSL_CTX, TlsDeleter>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, TlsDeleter>;
using X509Ptr = std::unique_ptr<X509, TlsDeleter>;
using PrivateKeyPtr = std::unique_ptr<EVP_PKEY, TlsDeleter>;

enum class TlsVersion : std::uint8_t { tls12, tls13 };

// A context with what holds for both sides: TLS 1.2 and 1.3, no renegotiation, no compression, buffers that an idle
// connection gives back, writes that may move and be partial (TlsStream relies on them).
SslContextPtr make_tls_context(bool server);

// OpenSSL's newest complaint of this thread as text for an operator; empties the thread's queue.
std::string take_tls_complaint();
// What OpenSSL's first complaint of this thread means for a connection whose `ssl` failed; empties the queue.
Error take_tls_error(const SSL* ssl, Origin origin);

// ALPN's wire form: length-prefixed names.
std::string alpn_wire(const std::vector<std::string>& protocols);

struct TlsClientSettings {
  std::string server_name{};        // asked for (unless it is an IP address), and looked for in the certificate
  bool verify = true;               // the chain and the name
  std::string ca_file{};            // PEM; empty = the system's authorities
  std::string certificate_file{};   // PEM chain of our own; empty = none
  std::string key_file{};           // PEM
  std::vector<std::string> alpn{};  // in order of preference; empty = none offered
};

// How to speak TLS with one upstream. Immutable; any thread.
class TlsClientContext {
 public:
  // The error is a sentence for the operator that names the file.
  static std::expected<std::shared_ptr<const TlsClientContext>, std::string> make(const TlsClientSettings& settings);

  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }
  // What to ask for by SNI; empty for an IP address, which must not be asked for.
  [[nodiscard]] const std::string& sni() const { return sni_; }

 private:
  TlsClientContext() = default;
  SslContextPtr context_;
  std::string sni_;
};

// The last session that an endpoint gave us, for the next connection to it. One thread.
class TlsSessionSlot {
 public:
  void put(SslSessionPtr session) { session_ = std::move(session); }
  [[nodiscard]] SSL_SESSION* get() const { return session_.get(); }

 private:
  SslSessionPtr session_;
};

}  // namespace dao::net
