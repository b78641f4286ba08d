// The rows of the schema that are about TLS.
#pragma once

#include <vector>

#include "dao/config/schema.h"

namespace dao::config {

// [server.listener.tls]
[[nodiscard]] Table listener_tls_table();
// `tls_cert` and `tls_key` of [server].
[[nodiscard]] std::vector<Key> server_tls_keys();
// The keys `tls_*` of [[routes.rule.upstreams]].
[[nodiscard]] std::vector<Key> upstream_tls_keys();

}  // namespace dao::config
