// One finished request as the access log sees it.
#pragma once

#include <cstdint>
#include <string_view>

#include "dao/base/clock.h"

namespace dao::telemetry {

// Text is borrowed for the call that takes the record; empty text, a port of 0 and kNotMeasured mean "does not apply"
// and are left out. Text may hold any bytes a peer sent.
struct RequestRecord {
  static constexpr std::uint64_t kNotMeasured = ~std::uint64_t{0};

  WallTime start = {};            // first byte of the request head
  std::uint64_t duration_ns = 0;  // from there to the last byte of the response, or to giving up
  std::string_view client_address = {};
  std::uint16_t client_port = 0;
  std::string_view method = {};
  std::string_view target = {};
  std::string_view host = {};
  std::string_view protocol = {};     // "HTTP/1.1"
  std::uint16_t status = 0;           // sent to the client; 0 if none was
  std::string_view grpc_status = {};  // "OK"
  std::uint64_t request_bytes = 0;    // body, without framing
  std::uint64_t response_bytes = 0;   // body, without framing
  std::string_view route = {};
  std::string_view upstream = {};           // of the last attempt
  std::string_view upstream_address = {};   // "10.0.0.1:8080" or "unix:/path"
  std::uint64_t connect_ns = kNotMeasured;  // absent on a reused connection
  std::uint64_t head_ns = kNotMeasured;     // from sending the request to the response head, last attempt
  std::uint64_t queue_ns = kNotMeasured;    // waited for room at an upstream; absent if it did not
  std::uint32_t attempts = 0;               // with upstreams
  std::uint64_t generation = 0;             // of the configuration that the request began with
  bool reused = false;                      // the client's connection had carried a request before
  std::string_view error = {};              // Proxy-Status name (RFC 9209)
  std::string_view error_detail = {};
  std::string_view referer = {};
  std::string_view user_agent = {};
  std::string_view trace_id = {};  // of traceparent, 32 hex digits
};

}  // namespace dao::telemetry
