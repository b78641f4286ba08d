#include "dao/server/grpc.h"

namespace dao::server {

bool is_grpc(const http::RequestHead& request) {
  if (request.method != http::Method::post) return false;
  const http::Field* type = request.find(http::FieldId::content_type);
  constexpr std::string_view kGrpc = "application/grpc";
  if (type == nullptr || !http::equals_ignoring_case(type->value.substr(0, kGrpc.size()), kGrpc)) return false;
  const std::string_view rest = type->value.substr(kGrpc.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

std::optional<Nanoseconds> grpc_timeout(const http::RequestHead& request) {
  const http::Field* field = request.find("grpc-timeout");
  constexpr std::size_t kMostDigits = 8;
  if (field == nullptr || field->value.size() < 2 || field->value.size() > kMostDigits + 1) return std::nullopt;
  std::int64_t amount = 0;
  for (const char digit : field->value.substr(0, field->value.size() - 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    amount = amount * 10 + (digit - '0');
  }
  switch (field->value.back()) {
    case 'H':
      // 99 999 999 hours do not fit into nanoseconds; nobody waits for a hundred years either.
      return std::chrono::hours(amount < 876'000 ? amount : 876'000);
    case 'M':
      return std::chrono::minutes(amount);
    case 'S':
      return std::chrono::seconds(amount);
    case 'm':
      return std::chrono::milliseconds(amount);
    case 'u':
      return std::chrono::microseconds(amount);
    case 'n':
      return Nanoseconds(amount);
    default:
      return std::nullopt;
  }
}

std::uint8_t grpc_status_for(std::uint16_t http_status) {
  constexpr std::uint8_t kDeadlineExceeded = 4;
  constexpr std::uint8_t kResourceExhausted = 8;
  constexpr std::uint8_t kUnimplemented = 12;
  constexpr std::uint8_t kInternal = 13;
  constexpr std::uint8_t kUnavailable = 14;
  switch (http_status) {
    case 408:
    case 504:
      return kDeadlineExceeded;
    case 413:
    case 414:
    case 431:
      return kResourceExhausted;
    case 404:
    case 405:
    case 501:
    case 505:
      return kUnimplemented;
    case 502:
    case 503:
      return kUnavailable;
    default:
      return kInternal;
  }
}

}  // namespace dao::server
