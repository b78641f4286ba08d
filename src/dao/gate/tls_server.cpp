#include "dao/gate/tls_server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <fstream>
#include <iterator>
#include <utility>

#include "dao/base/log.h"

namespace dao::gate {

namespace {

// Fetched once: a lookup by name for each ticket would cost more than the ticket.
const EVP_CIPHER* ticket_cipher() {
  static const EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return cipher;
}

int version_of(config::TlsVersion version) {
  return version == config::TlsVersion::tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

// A session is resumed only where it began: on a listener of this name that asks for client certificates in the same
// way of the same authorities, with the same certificates revoked.
std::array<unsigned char, SHA256_DIGEST_LENGTH> session_context(const config::Listener& listener) {
  std::string text = listener.name + '\0' + std::to_string(static_cast<int>(listener.tls.client_auth)) + '\0';
  for (const std::string& path : {listener.tls.client_ca, listener.tls.client_crl}) {
    if (path.empty()) continue;
    std::ifstream file(path, std::ios::binary);
    text.append(std::istreambuf_iterator<char>(file), {});
    text += '\0';
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

void warn_about(const config::CertificateFiles& files, const Certificate& certificate) {
  if (certificate.key_is_open) {
    log::warning("every user may read a private key", {{"key", files.key}, {"advice", "chmod o-rwx"}});
  }
  if (certificate.expires != 0 && certificate.expires <= std::time(nullptr)) {
    log::warning("a certificate has expired", {{"cert", files.cert}});
  }
}

}  // namespace

std::expected<std::shared_ptr<const TlsServer>, std::string> TlsServer::make(const config::Listener& listener,
                                                                             std::shared_ptr<TicketKeys> tickets) {
  std::shared_ptr<TlsServer> made(new TlsServer);
  made->tickets_ = std::move(tickets);
  std::vector<std::string> protocols;
  if (listener.protocols.h2) protocols.emplace_back("h2");
  if (listener.protocols.h1) protocols.emplace_back("http/1.1");
  made->protocols_ = net::alpn_wire(protocols);
  for (const config::CertificateFiles& files : listener.tls.certificates) {
    auto certificate = read_certificate(files);
    if (!certificate) return std::unexpected(certificate.error());
    warn_about(files, *certificate);
    made->certificates_.push_back(*std::move(certificate));
  }
  made->number_names();
  for (const std::vector<std::size_t>& group : made->groups_) {
    auto context = made->make_context(listener, group);
    if (!context) return std::unexpected(context.error());
    made->contexts_.push_back(*std::move(context));
  }
  return made;
}

void TlsServer::number_names() {
  // The certificates of each name, the first of each type of key; what stands for the same set is one group.
  std::vector<std::string> names;
  std::unordered_map<std::string, std::vector<std::size_t>> by_name;
  for (std::size_t i = 0; i < certificates_.size(); ++i) {
    for (const std::string& name : certificates_[i].names) {
      std::vector<std::size_t>& known = by_name[name];
      if (known.empty()) names.push_back(name);
      const bool type_known = std::ranges::any_of(known, [&](std::size_t other) {
        return EVP_PKEY_get_base_id(certificates_[other].key.get()) == EVP_PKEY_get_base_id(certificates_[i].key.get());
      });
      if (!type_known) known.push_back(i);
    }
  }
  const auto group_of = [this](const std::vector<std::size_t>& certificates) {
    const auto known = std::ranges::find(groups_, certificates);
    if (known != groups_.end()) return static_cast<std::size_t>(known - groups_.begin());
    groups_.push_back(certificates);
    return groups_.size() - 1;
  };
  const std::vector<std::string>& first = certificates_.front().names;
  group_of(first.empty() ? std::vector<std::size_t>{0} : by_name[first.front()]);
  for (const std::string& name : names) {
    const std::size_t group = group_of(by_name[name]);
    if (name.starts_with("*.")) {
      wildcards_.emplace(name.substr(1), group);
    } else {
      exact_.emplace(name, group);
    }
  }
}

std::expected<net::SslContextPtr, std::string> TlsServer::make_context(const config::Listener& listener,
                                                                       const std::vector<std::size_t>& certificates) {
  const config::ListenerTls& wanted = listener.tls;
  const auto refuse = [&listener](std::string_view what) {
    return std::unexpected("TLS of the listener " + listener.name + ": " + std::string(what) + ": " +
                           net::take_tls_complaint());
  };
  ERR_clear_error();
  net::SslContextPtr made = net::make_tls_context(true);
  SSL_CTX* context = made.get();
  if (context == nullptr) return refuse("OpenSSL cannot be used");
  SSL_CTX_set_min_proto_version(context, version_of(wanted.min_version));
  SSL_CTX_set_max_proto_version(context, version_of(wanted.max_version));
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (SSL_CTX_set_cipher_list(context, wanted.ciphers.c_str()) != 1) return refuse("ciphers");
  if (SSL_CTX_set_ciphersuites(context, wanted.cipher_suites.c_str()) != 1) return refuse("cipher_suites");
  for (const std::size_t index : certificates) {
    const Certificate& certificate = certificates_[index];
    const config::CertificateFiles& files = wanted.certificates[index];
    if (SSL_CTX_use_certificate(context, certificate.leaf.get()) != 1) return refuse(files.cert);
    if (SSL_CTX_use_PrivateKey(context, certificate.key.get()) != 1) return refuse(files.key);
    SSL_CTX_clear_chain_certs(context);
    for (const net::X509Ptr& issuer : certificate.chain) {
      if (SSL_CTX_add1_chain_cert(context, issuer.get()) != 1) return refuse(files.cert);
    }
  }
  if (wanted.client_auth != config::ClientAuth::off) {
    if (SSL_CTX_load_verify_file(context, wanted.client_ca.c_str()) != 1) return refuse(wanted.client_ca);
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(wanted.client_ca.c_str()));
    if (!wanted.client_crl.empty()) {
      X509_STORE* store = SSL_CTX_get_cert_store(context);
      X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
      if (lookup == nullptr || X509_load_crl_file(lookup, wanted.client_crl.c_str(), X509_FILETYPE_PEM) < 1) {
        return refuse(wanted.client_crl);
      }
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    const bool required = wanted.client_auth == config::ClientAuth::required;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
  }
  const auto id = session_context(listener);
  SSL_CTX_set_session_id_context(context, id.data(), static_cast<unsigned>(id.size()));
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
  if (wanted.session_tickets) {
    SSL_CTX_set_timeout(context, std::chrono::duration_cast<std::chrono::seconds>(wanted.session_timeout).count());
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key);
  } else {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
  }
  SSL_CTX_set_app_data(context, this);
  SSL_CTX_set_tlsext_servername_callback(context, choose_name);
  SSL_CTX_set_tlsext_servername_arg(context, this);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, this);
  const bool stapling =
      std::ranges::any_of(certificates, [this](std::size_t index) { return !certificates_[index].ocsp.empty(); });
  if (stapling) {
    SSL_CTX_set_tlsext_status_cb(context, staple);
    SSL_CTX_set_tlsext_status_arg(context, this);
  }
  ERR_clear_error();
  return made;
}

SSL_CTX* TlsServer::context_for(std::string_view name) const {
  std::string wanted(name);
  std::ranges::transform(wanted, wanted.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (wanted.ends_with('.')) wanted.pop_back();
  if (const auto found = exact_.find(wanted); found != exact_.end()) return contexts_[found->second].get();
  const std::size_t dot = wanted.find('.');
  if (dot != std::string::npos && dot > 0) {
    if (const auto found = wildcards_.find(wanted.substr(dot)); found != wildcards_.end()) {
      return contexts_[found->second].get();
    }
  }
  return context();
}

int TlsServer::choose_name(SSL* ssl, int*, void* self) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_CTX* wanted = static_cast<const TlsServer*>(self)->context_for(name);
  if (wanted != SSL_get_SSL_CTX(ssl)) SSL_set_SSL_CTX(ssl, wanted);
  return SSL_TLSEXT_ERR_OK;
}

int TlsServer::choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                               const unsigned char* offered, unsigned offered_size, void* self) {
  const std::string& ours = static_cast<const TlsServer*>(self)->protocols_;
  unsigned char* found = nullptr;
  const int outcome = SSL_select_next_proto(&found, chosen_size, reinterpret_cast<const unsigned char*>(ours.data()),
                                            static_cast<unsigned>(ours.size()), offered, offered_size);
  *chosen = found;
  // A protocol that nobody agreed on would be spoken otherwise (RFC 7301 section 3.2).
  return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int TlsServer::staple(SSL* ssl, void* self) {
  const X509* shown = SSL_get_certificate(ssl);
  for (const Certificate& certificate : static_cast<const TlsServer*>(self)->certificates_) {
    if (certificate.leaf.get() != shown || certificate.ocsp.empty()) continue;
    if (certificate.ocsp_expires != 0 && certificate.ocsp_expires <= std::time(nullptr)) break;
    auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(certificate.ocsp.data(), certificate.ocsp.size()));
    if (copy == nullptr) break;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(certificate.ocsp.size()));
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

int TlsServer::ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                          int encrypt) {
  constexpr int kFailed = -1;
  constexpr int kUnknown = 0;
  constexpr int kUse = 1;
  constexpr int kUseAndRenew = 2;
  TicketKeys& tickets = *static_cast<const TlsServer*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->tickets_;
  const Instant now = std::chrono::steady_clock::now();
  std::optional<TicketKeys::Key> key = encrypt == 1 ? tickets.current(now) : tickets.find(name, now);
  if (!key) return encrypt == 1 ? kFailed : kUnknown;
  std::array<char, 7> digest = {'S', 'H', 'A', '2', '5', '6', '\0'};
  const std::array<OSSL_PARAM, 3> parameters = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac.data(), key->mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0), OSSL_PARAM_construct_end()};
  bool done = EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
  if (encrypt == 1) {
    std::ranges::copy(key->name, name);
    done = done && RAND_bytes(iv, EVP_CIPHER_get_iv_length(ticket_cipher())) == 1 &&
           EVP_EncryptInit_ex(cipher, ticket_cipher(), nullptr, key->cipher.data(), iv) == 1;
  } else {
    done = done && EVP_DecryptInit_ex(cipher, ticket_cipher(), nullptr, key->cipher.data(), iv) == 1;
  }
  OPENSSL_cleanse(&*key, sizeof *key);
  if (!done) return kFailed;
  if (encrypt == 1) return kUse;
  if (SSL_version(ssl) == TLS1_3_VERSION) return kUseAndRenew;  // tickets are used once (RFC 8446 appendix C.4)
  const std::optional<TicketKeys::Key> newest = tickets.current(now);
  return newest && std::ranges::equal(newest->name, std::span(name, TicketKeys::kNameBytes)) ? kUse : kUseAndRenew;
}

}  // namespace dao::gate
