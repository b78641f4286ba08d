// What a request is kept together by, as a number for the policy consistent-hash.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::server {

// The same in every process. 0: the request has no such header or cookie. `client`: its address in network byte order
// (flow/client_address.h), empty for a unix socket, which is no key either.
[[nodiscard]] std::uint64_t hash_of(const config::HashKey& key, const http::RequestHead& request,
                                    std::span<const std::uint8_t> client);
// Of a request that has this value, as an operator writes it. Nothing: the key is the client's address, and this is
// none.
[[nodiscard]] std::optional<std::uint64_t> hash_of(const config::HashKey& key, std::string_view value);

}  // namespace dao::server
