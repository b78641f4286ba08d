// What a request is kept together by, as a number for the policy consistent-hash.
#pragma once

#include <cstdint>
#include <span>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::server {

// The same in every process. 0: the request has no such header or cookie. `client`: the address in network byte order,
// empty for a unix socket, which is no key either.
[[nodiscard]] std::uint64_t hash_of(const config::HashKey& key, const http::RequestHead& request,
                                    std::span<const std::uint8_t> client);

}  // namespace dao::server
