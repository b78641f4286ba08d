// Certificates and keys, of listeners and of upstreams: can DAO use them, and until when?
#pragma once

#include <ctime>

#include "dao/config/config.h"
#include "dao/config/load.h"

namespace dao::check {

inline constexpr std::time_t kExpiresSoon = std::time_t{30} * 24 * 3600;

// Reads the files in the way that DAO does at its start; each is reported once. Errors: what would keep it from
// starting (a missing file, a key that is not that of the certificate, authorities or ciphers that OpenSSL does not
// take). Warnings: a certificate, or one of its chain, that has expired at `now`, will have within kExpiresSoon, or is
// not valid yet; an OCSP response that has expired; a key that every user of the machine may read.
[[nodiscard]] config::Diagnostics check_certificates(const config::Config& config, std::time_t now);

}  // namespace dao::check
