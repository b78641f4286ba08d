// Sticky sessions: the upstream that answered a client first answers it again. A cookie names the upstream by
// HMAC-SHA256(secret, "dao-sticky-v1", rule, upstream), so it tells nothing and cannot be made by others. All cookies
// that there can be are computed once, so a request costs a comparison for each upstream. Immutable, any thread.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::flow {

// Of a rule whose sticky sessions are on; the text says why there is none.
std::expected<std::string, std::string> sticky_secret(const config::Rule& rule);

class Sticky {
 public:
  Sticky(const config::Rule& rule, const std::vector<config::Upstream>& upstreams, std::string_view secret);

  struct Found {
    bool cookie = false;                  // the client sent one
    std::optional<std::size_t> position;  // in Rule::upstreams; none: the cookie names none of them
  };
  [[nodiscard]] Found find(const http::RequestHead& request) const;
  // The same for the text of the cookie.
  [[nodiscard]] std::optional<std::size_t> position_of(std::string_view token) const;
  // The value of Set-Cookie for the upstream with this position.
  [[nodiscard]] std::string_view set_cookie(std::size_t position, bool by_tls) const;

 private:
  struct Cookie {
    std::string token;
    std::string plain;
    std::string secure;
  };
  std::string name_;
  config::SecureCookie when_secure_;
  std::vector<Cookie> cookies_;  // by position
};

}  // namespace dao::flow
