#include "dao/config/tls_keys.h"

#include <algorithm>
#include <string>

#include "dao/config/draft.h"
#include "dao/config/match_values.h"
#include "dao/config/names.h"
#include "dao/config/schema_rows.h"

namespace dao::config {
namespace {

constexpr std::array kTlsVersions = {
    Named<TlsVersion>{"1.2", TlsVersion::tls12, "RFC 5246"},
    Named<TlsVersion>{"1.3", TlsVersion::tls13, "RFC 8446"},
};
constexpr std::array kClientAuth = {
    Named<ClientAuth>{"off", ClientAuth::off, "none is asked for"},
    Named<ClientAuth>{"optional", ClientAuth::optional,
                      "a client may come without one; one that `client_ca` does not vouch for ends the handshake"},
    Named<ClientAuth>{"required", ClientAuth::required, "a client without a valid one is refused in the handshake"},
};

constexpr std::array kUpstreamProtocols = {
    Named<bool Protocols::*>{"h2", &Protocols::h2, "HTTP/2"},
    Named<bool Protocols::*>{"h1", &Protocols::h1, "HTTP/1.1"},
};

Parsed<std::string> parse_cipher_list(std::string_view text) {
  const bool printable = std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
  if (text.empty() || !printable) {
    return std::unexpected(
        Problem{in_quotes(text) + " is not a list of ciphers", "names of ciphers, with \":\" between"});
  }
  return std::string(text);
}

Parsed<std::string> parse_server_name(std::string_view text) {
  if (!is_host_name(text)) return std::unexpected(Problem{in_quotes(text) + " is not a host name", "a host name"});
  return lower_case(text);
}

template <auto... Field>
Key file(std::string_view name, std::string_view absent, std::string_view example, std::string_view doc) {
  Key key = text<parse_file_path, Field...>(name, "the path of a file", doc);
  key.absent = absent;
  key.example = example;
  return key;
}

}  // namespace

Table listener_tls_table() {
  Table certificates{.name = "certificates",
                     .doc =
                         "A certificate of the listener. A client gets the one whose name it asks for by SNI: an exact "
                         "name first, then a wildcard (`*.example.org` stands for one label), else the first of the "
                         "list. One name may have an RSA and an ECDSA certificate; the client's abilities decide. The "
                         "files are read again when they change; if they are no good then, the old ones stay in use.",
                     .repeated = true};
  certificates.enter = [](void* tls) -> void* { return &field_of<&ListenerTls::certificates>(tls).emplace_back(); };
  Key cert = file<&CertificateFiles::cert>("cert", {}, R"("/etc/dao/example.org.pem")",
                                           "The certificate and those that lead to its root, in PEM.");
  Key key = file<&CertificateFiles::key>("key", {}, R"("/etc/dao/example.org.key")",
                                         "Its private key, in PEM; DAO warns when every user may read it.");
  cert.required = true;
  key.required = true;
  certificates.keys = {cert, key,
                       file<&CertificateFiles::ocsp>("ocsp", "nothing is stapled", R"("/etc/dao/example.org.ocsp")",
                                                     "An OCSP response (DER) that is stapled until it expires.")};

  Table table{.name = "tls", .doc = "TLS on this listener; there is none without this table."};
  table.enter = [](void* listener) -> void* { return &field_of<&Listener::tls>(listener); };
  Key ciphers = text<parse_cipher_list, &ListenerTls::ciphers>("ciphers", "OpenSSL names of ciphers, with `:` between",
                                                               "What TLS 1.2 may use, in order of preference.");
  ciphers.fallback = kDefaultCiphers;
  ciphers.pattern = "^[!-~]+$";
  Key suites = text<parse_cipher_list, &ListenerTls::cipher_suites>(
      "cipher_suites", "names of cipher suites, with `:` between", "What TLS 1.3 may use, in order of preference.");
  suites.fallback = kDefaultCipherSuites;
  suites.pattern = "^[!-~]+$";
  table.keys = {
      choice<kTlsVersions, &ListenerTls::min_version>("min_version", "1.2", "The oldest version that is spoken."),
      choice<kTlsVersions, &ListenerTls::max_version>("max_version", "1.3", "The newest version that is spoken."),
      ciphers,
      suites,
      choice<kClientAuth, &ListenerTls::client_auth>(
          "client_auth", "off",
          "Whether clients show a certificate. If so, backends are told by `X-SSL-Client-Verify` (`SUCCESS` or `NONE`) "
          "and `X-SSL-Client-Subject`, and fields that begin with `X-SSL-Client-` are removed from all requests of all "
          "listeners; a request for another host than the one named by SNI gets a 421."),
      file<&ListenerTls::client_ca>("client_ca", "nobody", R"("/etc/dao/clients.pem")",
                                    "The authorities that vouch for clients, in PEM."),
      file<&ListenerTls::client_crl>(
          "client_crl", "nobody is revoked", R"("/etc/dao/revoked.pem")",
          "Certificates of clients that are no longer valid: revocation lists in PEM, one from each authority between "
          "a client and the root, the root's included; without the list of an authority its clients are refused. Read "
          "again when it changes; sessions from before then are not resumed."),
      boolean<&ListenerTls::session_tickets>(
          "session_tickets", true,
          "Lets clients resume a session without a full handshake. The keys are made by DAO, live in its memory only, "
          "and are changed once in `session_timeout_ms`."),
      integer<&ListenerTls::session_timeout>("session_timeout_ms", 3'600'000, {1000, 7 * kDayMs}, "ms",
                                             "How long a session can be resumed."),
  };
  table.tables = {certificates};
  return table;
}

std::vector<Key> server_tls_keys() {
  return {
      file<&Server::tls_cert>("tls_cert", "the addresses of `bind` speak no TLS", R"("/etc/dao/example.org.pem")",
                              "A certificate for the addresses of `bind`, as `cert` of "
                              "`[[server.listener.tls.certificates]]`."),
      file<&Server::tls_key>("tls_key", "the addresses of `bind` speak no TLS", R"("/etc/dao/example.org.key")",
                             "Its private key."),
  };
}

std::vector<Key> upstream_tls_keys() {
  Key name = text<parse_server_name, &UpstreamDraft::tls, &UpstreamTls::server_name>(
      "tls_server_name", "a host name",
      "The name to ask for by SNI, and to look for in the certificate of an `https://` upstream.");
  name.absent = "the host of the URL";
  name.example = "\"api.internal\"";
  Key protocols = switches<kUpstreamProtocols, &UpstreamDraft::tls, &UpstreamTls::protocols>(
      "protocols", std::vector<std::string_view>{"h2", "h1"},
      "What may be spoken with an `https://` upstream: DAO offers it by ALPN and the upstream picks; one that picks "
      "nothing is spoken to in HTTP/1.1. Both is the default: many requests share one connection of HTTP/2, and its "
      "handshake is what costs most; gRPC needs it; and an upstream that prefers HTTP/1.1 says so by itself. Only `h1` "
      "is better for few and large bodies, and where a balancer in between spreads connections instead of requests. "
      "With only `h2`, an upstream that does not agree to it gets no request (502, `tls_protocol`). A WebSocket always "
      "takes a connection of HTTP/1.1, where `h1` is allowed.");
  protocols.min_items = 1;
  return {
      protocols,
      boolean<&UpstreamDraft::tls, &UpstreamTls::verify>("tls_verify", true,
                                                         "Whether an `https://` upstream must show a valid certificate "
                                                         "for its name. Without it anybody on the way can "
                                                         "pass for the upstream."),
      file<&UpstreamDraft::tls, &UpstreamTls::ca>("tls_ca", "the system's authorities", R"("/etc/dao/internal-ca.pem")",
                                                  "The authorities that vouch for the upstream, in PEM."),
      name,
      file<&UpstreamDraft::tls, &UpstreamTls::cert>("tls_cert", "none is shown", R"("/etc/dao/client.pem")",
                                                    "A certificate to show to the upstream, in PEM."),
      file<&UpstreamDraft::tls, &UpstreamTls::key>("tls_key", "no certificate is shown", R"("/etc/dao/client.key")",
                                                   "The private key of `tls_cert`, in PEM."),
  };
}

}  // namespace dao::config
