// A certificate with its chain, key and OCSP response, as read from files. Immutable; any thread.
#pragma once

#include <ctime>
#include <expected>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/net/tls_context.h"

namespace dao::gate {

struct Certificate {
  net::X509Ptr leaf;
  std::vector<net::X509Ptr> chain;  // the leaf's issuer first
  net::PrivateKeyPtr key;
  std::vector<std::string> names;  // DNS names, in lower case, perhaps wildcards; the subject's if there are no others
  std::string ocsp;                // DER; empty = none
  std::time_t ocsp_expires = 0;    // 0 = it does not say
  std::time_t expires = 0;
  bool key_is_open = false;  // every user of the machine may read the key's file
};

// The error is a sentence for the operator that names the files.
std::expected<Certificate, std::string> read_certificate(const config::CertificateFiles& files);

}  // namespace dao::gate
