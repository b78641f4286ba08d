// TLS as one listener speaks it: its certificates, and which of them a client gets. Made from files; immutable, shared
// by all workers; a change of the files makes a new one (tls_listener.h).
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dao/config/config.h"
#include "dao/gate/tls_certificate.h"
#include "dao/gate/tls_tickets.h"
#include "dao/net/tls_context.h"

namespace dao::gate {

class TlsServer {
 public:
  // The error is a sentence for the operator that names the file. What he should know beside is logged.
  static std::expected<std::shared_ptr<const TlsServer>, std::string> make(const config::Listener& listener,
                                                                           std::shared_ptr<TicketKeys> tickets);

  // For a new connection; its handshake refers to this object.
  [[nodiscard]] SSL_CTX* context() const { return contexts_.front().get(); }
  // The context for a name that a client asks for, in any case.
  [[nodiscard]] SSL_CTX* context_for(std::string_view name) const;

 private:
  TlsServer() = default;
  std::expected<net::SslContextPtr, std::string> make_context(const config::Listener& listener,
                                                              const std::vector<std::size_t>& certificates);
  void number_names();
  static int choose_name(SSL* ssl, int* alert, void* self);
  static int choose_protocol(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                             const unsigned char* offered, unsigned offered_size, void* self);
  static int staple(SSL* ssl, void* self);
  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                        int encrypt);

  std::vector<Certificate> certificates_;
  // Certificates that stand for one name, at most one for each type of key, and the names by them.
  std::vector<std::vector<std::size_t>> groups_;
  std::vector<net::SslContextPtr> contexts_;                // by group; the first is the default
  std::unordered_map<std::string, std::size_t> exact_;      // group
  std::unordered_map<std::string, std::size_t> wildcards_;  // ".example.org": group
  std::string protocols_;                                   // ALPN wire form, in our order
  std::shared_ptr<TicketKeys> tickets_;
};

}  // namespace dao::gate
