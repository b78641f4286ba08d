// Who may use the admin API. Three doors, each closed by default:
//
// - Host (RFC 9110 section 7.2) must be a name of the API, or a web page could reach it under a name of its own that it
//   lets point here (DNS rebinding): 421.
// - A token, if there is one, on every request (RFC 6750 section 2.1): 401.
// - What changes something needs a field that a web page cannot send to another origin without being asked first
//   (Authorization with the token, or X-DAO-Admin: 1), and an Origin, if any, that is the API's own (CSRF): 403.
//
// Pure, any thread.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::admin {

struct AccessRules {
  bool any_host = false;  // a unix socket: no page reaches it
  bool any_ip = false;    // Host may be every IP address: no rebinding makes a page send one that is not its own
  std::vector<std::string> hosts;  // in lower case, IPv6 in brackets
  std::string token;               // empty: none is asked for

  friend bool operator==(const AccessRules&, const AccessRules&) = default;
};

[[nodiscard]] AccessRules rules_for(const config::Admin& admin, std::string token);

struct Refusal {
  std::uint16_t status;
  std::string_view error;  // a word for programs
  std::string detail;      // a sentence for people
};

[[nodiscard]] std::optional<Refusal> check_access(const AccessRules& rules, const http::RequestHead& request);

// The token in the file. The error is a sentence for the operator and has nothing of the token in it.
[[nodiscard]] std::expected<std::string, std::string> read_token(const std::string& path);

}  // namespace dao::admin
