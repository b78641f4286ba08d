// What a gateway must know of gRPC (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): who speaks it, how
// long a call may take, and how an error is told to such a client. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/http/head.h"

namespace dao::server {

// A call: POST with content-type application/grpc, alone or with a subtype ("+proto") or parameters.
bool is_grpc(const http::RequestHead& request);

// How long the client waits: the grpc-timeout field. Nothing if there is none that can be read.
std::optional<Nanoseconds> grpc_timeout(const http::RequestHead& request);

// The status code of gRPC that says what this HTTP status of DAO's own answers says.
std::uint8_t grpc_status_for(std::uint16_t http_status);

}  // namespace dao::server
