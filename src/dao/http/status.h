// Status codes that code of ours gives by name (RFC 9110 section 15; IANA's registry of HTTP status codes).
#pragma once

#include <cstdint>

namespace dao::http::status {

inline constexpr std::uint16_t kContinue = 100;
inline constexpr std::uint16_t kSwitching = 101;
inline constexpr std::uint16_t kOk = 200;
inline constexpr std::uint16_t kAccepted = 202;
inline constexpr std::uint16_t kNoContent = 204;
inline constexpr std::uint16_t kNotModified = 304;
inline constexpr std::uint16_t kBadRequest = 400;
inline constexpr std::uint16_t kUnauthorized = 401;
inline constexpr std::uint16_t kForbidden = 403;
inline constexpr std::uint16_t kNotFound = 404;
inline constexpr std::uint16_t kMethodNotAllowed = 405;
inline constexpr std::uint16_t kConflict = 409;
inline constexpr std::uint16_t kPreconditionFailed = 412;
inline constexpr std::uint16_t kTooLarge = 413;
inline constexpr std::uint16_t kUnsupportedMediaType = 415;
inline constexpr std::uint16_t kMisdirected = 421;
inline constexpr std::uint16_t kUnprocessable = 422;
inline constexpr std::uint16_t kClientGone = 499;  // nginx's word for it: nobody reads the answer
inline constexpr std::uint16_t kServerError = 500;
inline constexpr std::uint16_t kBadGateway = 502;
inline constexpr std::uint16_t kUnavailable = 503;
inline constexpr std::uint16_t kGatewayTimeout = 504;

}  // namespace dao::http::status
