#include "dao/check/certificates.h"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/x509.h>

#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "dao/base/utc_text.h"
#include "dao/check/files.h"
#include "dao/check/findings.h"
#include "dao/check/upstream_keys.h"
#include "dao/gate/tls_certificate.h"
#include "dao/gate/tls_server.h"
#include "dao/net/tls_context.h"

namespace dao::check {

namespace {

using config::Severity;

std::time_t time_of(const ASN1_TIME* time) {
  std::tm broken{};
  return time != nullptr && ASN1_TIME_to_tm(time, &broken) == 1 ? timegm(&broken) : 0;
}

std::string date_of(std::time_t time) {
  return utc_text(std::chrono::system_clock::from_time_t(time), "%Y-%m-%d");
}

std::string days(std::time_t seconds) {
  constexpr std::time_t kDay = 24 * 3600;
  const std::time_t count = seconds / kDay;
  return count == 0 ? "within a day" : fmt::format("in {} day{}", count, count == 1 ? "" : "s");
}

class Certificates {
 public:
  explicit Certificates(std::time_t now) : now_(now) {}

  config::Diagnostics found;

  void listener(const config::Listener& listener, const std::string& tls_key, bool of_bind) {
    bool usable = true;
    for (std::size_t i = 0; i < listener.tls.certificates.size(); ++i) {
      const std::string key = of_bind ? "server.tls_" : fmt::format("{}.certificates[{}].", tls_key, i);
      usable = pair(listener.tls.certificates[i], key + "cert", key + "key", key + "ocsp") && usable;
    }
    usable = readable(listener.tls.client_ca, tls_key + ".client_ca") && usable;
    usable = readable(listener.tls.client_crl, tls_key + ".client_crl") && usable;
    if (!usable) return;
    // What is left to be wrong: the authorities, the revocation lists, the ciphers.
    if (const auto made = gate::TlsServer::make(listener, nullptr); !made) {
      add(found, Severity::error, of_bind ? "server.tls_cert" : tls_key, made.error());
    }
  }

  void upstream(const config::UpstreamTls& tls, const std::string& key) {
    if (tls.ca.empty() && tls.cert.empty()) return;
    if (!upstreams_.insert({tls.ca, tls.cert, tls.key}).second) return;
    bool usable = readable(tls.ca, key + ".tls_ca");
    if (!tls.cert.empty()) {
      usable = pair({.cert = tls.cert, .key = tls.key, .ocsp = {}}, key + ".tls_cert", key + ".tls_key", {}) && usable;
    }
    if (!usable) return;
    // The system's authorities are not looked at: that takes long, and they are nothing of the configuration's.
    const net::TlsClientSettings settings{.server_name = "example.org",
                                          .verify = !tls.ca.empty(),
                                          .ca_file = tls.ca,
                                          .certificate_file = tls.cert,
                                          .key_file = tls.key};
    if (const auto made = net::TlsClientContext::make(settings); !made) {
      add(found, Severity::error, key + (tls.ca.empty() ? ".tls_cert" : ".tls_ca"), made.error());
    }
  }

 private:
  bool readable(const std::string& path, const std::string& key) {
    if (path.empty()) return true;
    const auto why = unreadable(path);
    if (why && said_.insert(path).second) add_unreadable(found, key, path, *why);
    return !why;
  }

  // False: it cannot be used, which has been said.
  bool pair(const config::CertificateFiles& files, const std::string& cert, const std::string& key,
            const std::string& ocsp) {
    const bool cert_readable = readable(files.cert, cert);
    const bool key_readable = readable(files.key, key);
    const bool ocsp_readable = readable(files.ocsp, ocsp);
    if (!cert_readable || !key_readable || !ocsp_readable) return false;
    const bool seen = !pairs_.insert({files.cert, files.key, files.ocsp}).second;
    const auto read = gate::read_certificate(files);
    if (!read) {
      if (!seen) add(found, Severity::error, cert, read.error());
      return false;
    }
    if (seen) return true;
    validity(read->leaf.get(), fmt::format("the certificate {}", files.cert), cert);
    for (std::size_t i = 0; i < read->chain.size(); ++i) {
      validity(read->chain[i].get(), fmt::format("certificate {} of the chain in {}", i + 2, files.cert), cert);
    }
    if (read->ocsp_expires != 0 && read->ocsp_expires <= now_) {
      add(found, Severity::warning, ocsp,
          fmt::format("the OCSP response {} has expired on {}: it is not stapled", files.ocsp,
                      date_of(read->ocsp_expires)));
    }
    if (read->key_is_open) {
      add(found, Severity::warning, key,
          fmt::format("every user of this machine may read the private key {}", files.key), "chmod 0600, or 0640");
    }
    return true;
  }

  void validity(const X509* certificate, const std::string& what, const std::string& key) {
    const std::time_t from = time_of(X509_get0_notBefore(certificate));
    const std::time_t until = time_of(X509_get0_notAfter(certificate));
    if (until <= now_) {
      add(found, Severity::warning, key, fmt::format("{} has expired on {}", what, date_of(until)),
          "a new certificate");
    } else if (until - now_ <= kExpiresSoon) {
      add(found, Severity::warning, key, fmt::format("{} expires on {}, {}", what, date_of(until), days(until - now_)),
          "a new certificate by then");
    }
    if (from > now_) {
      add(found, Severity::warning, key, fmt::format("{} is not valid before {}", what, date_of(from)),
          "a certificate that is valid now, and a clock that is right");
    }
  }

  std::time_t now_;
  std::set<std::string> said_;
  std::set<std::tuple<std::string, std::string, std::string>> pairs_;
  std::set<std::tuple<std::string, std::string, std::string>> upstreams_;
};

}  // namespace

config::Diagnostics check_certificates(const config::Config& config, std::time_t now) {
  Certificates certificates(now);
  const std::span<const config::Listener> listeners = config.server.listeners;
  const std::size_t of_bind = config.server.bind.size();  // they share one certificate
  if (!config.server.tls_cert.empty() && of_bind > 0) certificates.listener(listeners.front(), "server", true);
  for (std::size_t i = of_bind; i < listeners.size(); ++i) {
    if (listeners[i].tls.certificates.empty()) continue;
    certificates.listener(listeners[i], fmt::format("server.listener[{}].tls", i - of_bind), false);
  }
  const std::vector<std::string> keys = upstream_keys(config);
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    if (config.upstreams[i].url.scheme == config::Scheme::https)
      certificates.upstream(config.upstreams[i].tls, keys[i]);
  }
  return std::move(certificates.found);
}

}  // namespace dao::check
