#include "dao/net/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>

#include "dao/net/tls_stream.h"

namespace dao::net {

void TlsDeleter::operator()(SSL* ssl) const {
  SSL_free(ssl);
}
void TlsDeleter::operator()(SSL_CTX* context) const {
  SSL_CTX_free(context);
}
void TlsDeleter::operator()(SSL_SESSION* session) const {
  SSL_SESSION_free(session);
}
void TlsDeleter::operator()(X509* certificate) const {
  X509_free(certificate);
}
void TlsDeleter::operator()(EVP_PKEY* key) const {
  EVP_PKEY_free(key);
}

SslContextPtr make_tls_context(bool server) {
  SslContextPtr context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  if (!context) return context;
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // An end without a goodbye is judged by TlsStream; OpenSSL would also throw the session away.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
  // A read returns after each message that is no data, so that a peer cannot keep a worker busy with such messages.
  SSL_CTX_clear_mode(context.get(), SSL_MODE_AUTO_RETRY);
  // One system call reads a record's header together with the record.
  SSL_CTX_set_read_ahead(context.get(), 1);
  return context;
}

std::string take_tls_complaint() {
  const unsigned long code = ERR_peek_last_error();
  std::array<char, 256> text{};
  const char* reason = ERR_reason_error_string(code);
  std::string complaint;
  if (reason != nullptr) {
    complaint = reason;
  } else if (code != 0) {
    ERR_error_string_n(code, text.data(), text.size());
    complaint = text.data();
  } else {
    complaint = "unknown reason";
  }
  ERR_clear_error();
  return complaint;
}

Error take_tls_error(const SSL* ssl, Origin origin) {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* text = ERR_reason_error_string(code);
  Error error{.origin = origin, .kind = ErrorKind::tls_protocol, .detail = text != nullptr ? text : "TLS failed"};
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (reason >= SSL_AD_REASON_OFFSET) {
      error.kind = ErrorKind::tls_alert;
    } else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
      error.kind = ErrorKind::tls_certificate;
      error.detail = X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    } else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
      error.kind = ErrorKind::tls_certificate;
    }
  }
  ERR_clear_error();
  return error;
}

std::string alpn_wire(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  return wire;
}

namespace {

bool is_ip(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 || inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

}  // namespace

std::expected<std::shared_ptr<const TlsClientContext>, std::string> TlsClientContext::make(
    const TlsClientSettings& settings) {
  ERR_clear_error();
  std::shared_ptr<TlsClientContext> made(new TlsClientContext);
  made->context_ = make_tls_context(false);
  SSL_CTX* context = made->context_.get();
  if (context == nullptr) return std::unexpected("cannot use OpenSSL: " + take_tls_complaint());
  const bool ip = is_ip(settings.server_name);
  if (!ip) made->sni_ = settings.server_name;
  if (settings.verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    X509_VERIFY_PARAM* wanted = SSL_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int named = ip ? X509_VERIFY_PARAM_set1_ip_asc(wanted, settings.server_name.c_str())
                         : X509_VERIFY_PARAM_set1_host(wanted, settings.server_name.c_str(), 0);
    if (named != 1) return std::unexpected("cannot look for the name \"" + settings.server_name + "\"");
    if (settings.ca_file.empty()) {
      if (SSL_CTX_set_default_verify_paths(context) != 1) {
        return std::unexpected("cannot load the system's certificate authorities: " + take_tls_complaint());
      }
    } else if (SSL_CTX_load_verify_file(context, settings.ca_file.c_str()) != 1) {
      return std::unexpected("cannot load certificate authorities from " + settings.ca_file + ": " +
                             take_tls_complaint());
    }
  }
  if (!settings.certificate_file.empty()) {
    if (SSL_CTX_use_certificate_chain_file(context, settings.certificate_file.c_str()) != 1) {
      return std::unexpected("cannot load the certificate " + settings.certificate_file + ": " + take_tls_complaint());
    }
    if (SSL_CTX_use_PrivateKey_file(context, settings.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      return std::unexpected("cannot load the private key " + settings.key_file + " of " + settings.certificate_file +
                             ": " + take_tls_complaint());
    }
  }
  if (!settings.alpn.empty()) {
    const std::string wire = alpn_wire(settings.alpn);
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, TlsStream::keep_session);
  ERR_clear_error();
  return made;
}

}  // namespace dao::net
