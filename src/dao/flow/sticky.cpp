#include "dao/flow/sticky.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "dao/flow/cookies.h"

namespace dao::flow {

namespace {

constexpr std::size_t kTokenBytes = 24;  // of the 32 of SHA-256; 32 characters

std::string base64url(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  for (std::size_t i = 0; i + 2 < bytes.size(); i += 3) {
    const unsigned word =
        static_cast<unsigned>(bytes[i]) << 16U | static_cast<unsigned>(bytes[i + 1]) << 8U | bytes[i + 2];
    for (const unsigned shift : {18U, 12U, 6U, 0U}) text += kDigits[(word >> shift) & 63U];
  }
  return text;
}

// The zero bytes keep ("a", "bc") and ("ab", "c") apart.
std::string token_of(std::string_view secret, std::string_view rule, std::string_view upstream) {
  const std::string message = fmt::format("dao-sticky-v1{0}{1}{0}{2}", '\0', rule, upstream);
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(), mac.data(), &length);
  return base64url(std::span(mac).first(kTokenBytes));
}

std::string_view name_of(config::SameSite same_site) {
  switch (same_site) {
    case config::SameSite::unset:
      break;
    case config::SameSite::lax:
      return "; SameSite=Lax";
    case config::SameSite::strict:
      return "; SameSite=Strict";
    case config::SameSite::none:
      return "; SameSite=None";
  }
  return "";
}

}  // namespace

std::expected<std::string, std::string> sticky_secret(const config::Rule& rule) {
  if (rule.sticky.secret_file.empty()) return rule.sticky.secret;
  std::ifstream file(rule.sticky.secret_file, std::ios::binary);
  if (!file) {
    return std::unexpected(fmt::format("cannot read the sticky secret of rule {} from {}: {}", rule.name,
                                       rule.sticky.secret_file, std::strerror(errno)));
  }
  std::string secret{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::size_t end = secret.find_last_not_of(" \t\r\n");
  secret.resize(end == std::string::npos ? 0 : end + 1);
  constexpr std::size_t kLeast = 16;
  constexpr std::size_t kMost = 65'536;
  if (secret.size() < kLeast || secret.size() > kMost) {
    return std::unexpected(fmt::format("the sticky secret of rule {} in {} has {} bytes; 16 to 65536 are needed",
                                       rule.name, rule.sticky.secret_file, secret.size()));
  }
  return secret;
}

Sticky::Sticky(const config::Rule& rule, const std::vector<config::Upstream>& upstreams, std::string_view secret)
    : name_(rule.sticky.cookie), when_secure_(rule.sticky.secure) {
  const config::Sticky& sticky = rule.sticky;
  std::string attributes = fmt::format("; Path={}", sticky.path);
  if (!sticky.domain.empty()) attributes += fmt::format("; Domain={}", sticky.domain);
  if (sticky.ttl > Milliseconds::zero()) {
    attributes += fmt::format("; Max-Age={}", std::chrono::ceil<std::chrono::seconds>(sticky.ttl).count());
  }
  if (sticky.http_only) attributes += "; HttpOnly";
  attributes += name_of(sticky.same_site);
  for (const config::RuleUpstream& upstream : rule.upstreams) {
    Cookie& cookie = cookies_.emplace_back();
    cookie.token = token_of(secret, rule.name, upstreams[upstream.index].name);
    cookie.plain = fmt::format("{}={}{}", name_, cookie.token, attributes);
    cookie.secure = cookie.plain + "; Secure";
  }
}

std::optional<std::size_t> Sticky::position_of(std::string_view token) const {
  std::optional<std::size_t> position;
  for (std::size_t i = 0; i < cookies_.size(); ++i) {
    const std::string& good = cookies_[i].token;
    if (token.size() == good.size() && CRYPTO_memcmp(token.data(), good.data(), good.size()) == 0) position = i;
  }
  return position;
}

Sticky::Found Sticky::find(const http::RequestHead& request) const {
  const std::optional<std::string_view> token = find_cookie(request, name_);
  if (!token) return {};
  return {.cookie = true, .position = position_of(*token)};
}

std::string_view Sticky::set_cookie(std::size_t position, bool by_tls) const {
  const bool secure =
      when_secure_ == config::SecureCookie::always || (when_secure_ == config::SecureCookie::auto_ && by_tls);
  return secure ? cookies_[position].secure : cookies_[position].plain;
}

}  // namespace dao::flow
