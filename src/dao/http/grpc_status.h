// The status codes of gRPC (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md) and the field that carries
// them: in the trailers, or in the head of an answer that has nothing else. Pure functions, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dao/http/head.h"

namespace dao::http {

// By their codes, from 0.
inline constexpr std::array<std::string_view, 17> kGrpcStatusNames = {
    "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
};

// The code in the grpc-status field; nothing if there is none, or none of the codes above.
inline std::optional<std::uint8_t> find_grpc_status(std::span<const Field> fields) {
  for (const Field& field : fields) {
    if (!equals_ignoring_case(field.name, "grpc-status")) continue;
    const std::string_view value = field.value;
    if (value.empty() || value.size() > 2) return std::nullopt;
    std::size_t code = 0;
    for (const char digit : value) {
      if (digit < '0' || digit > '9') return std::nullopt;
      code = code * 10 + static_cast<std::size_t>(digit - '0');
    }
    if (code >= kGrpcStatusNames.size()) return std::nullopt;
    return static_cast<std::uint8_t>(code);
  }
  return std::nullopt;
}

}  // namespace dao::http
