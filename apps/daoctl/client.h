// Asks a DAO's admin API, blocking: one connection for each request.
#pragma once

#include <cstdint>
#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "dao/base/clock.h"

namespace dao {

// Where the admin API is and what it wants to be shown.
struct AdminAddress {
  std::string host;       // name or IP address without brackets; empty for a unix socket
  std::string port;       // of a host
  std::string path;       // of a unix socket
  std::string authority;  // for Host
  std::string text;       // as it was given
};

// "host:port", "[ipv6]:port", "http://host:port", "unix:/path". The error is a sentence.
std::expected<AdminAddress, std::string> parse_admin_address(std::string_view text);
// What --admin, the environment (DAO_ADMIN) and the places of the default configurations say, in this order.
std::string default_admin_address();

struct ApiFailure {
  enum class Kind : std::uint8_t { unreachable, refused };
  Kind kind;
  std::string message;
  nlohmann::json answer{};  // of a refusal: the API's; else null
};

// What is sent with a POST.
struct ApiBody {
  std::string text{};  // empty: none
  std::string_view content_type = "application/json";
  std::string if_match{};         // an ETag without quotes; empty: none
  Milliseconds patience{10'000};  // for the answer
};

class AdminClient {
 public:
  // `token`: empty for none.
  AdminClient(AdminAddress address, std::string token) : address_(std::move(address)), token_(std::move(token)) {}

  [[nodiscard]] std::expected<nlohmann::json, ApiFailure> get(const std::string& target) const;
  // `body`: sent as JSON if it is not null.
  [[nodiscard]] std::expected<nlohmann::json, ApiFailure> post(const std::string& target,
                                                               const nlohmann::json& body) const;
  [[nodiscard]] std::expected<nlohmann::json, ApiFailure> post(const std::string& target, const ApiBody& body) const;

 private:
  [[nodiscard]] std::expected<nlohmann::json, ApiFailure> ask(std::string_view method, const std::string& target,
                                                              const ApiBody& body) const;

  AdminAddress address_;
  std::string token_;
};

// The token in a file: its only line.
std::expected<std::string, std::string> read_token_file(const std::string& path);

// As one segment of a path.
std::string percent_encoded(std::string_view text);

}  // namespace dao
