#include "dao/admin/access.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "dao/config/names.h"
#include "dao/http/status.h"

namespace dao::admin {

namespace {

constexpr std::size_t kTokenMin = 16;
constexpr std::size_t kTokenMax = 1024;

// Without the port: "a.test", "[::1]".
std::string_view host_of(std::string_view authority) {
  const std::size_t bracket = authority.find(']');
  if (authority.starts_with('[') && bracket != std::string_view::npos) return authority.substr(0, bracket + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_ip(std::string_view host) {
  if (host.size() > 2 && host.starts_with('[') && host.ends_with(']')) {
    return config::is_ipv6(host.substr(1, host.size() - 2));
  }
  return config::is_ipv4(host);
}

bool knows(const AccessRules& rules, std::string_view authority) {
  if (rules.any_host) return true;
  const std::string host = config::lower_case(host_of(authority));
  return std::ranges::find(rules.hosts, host) != rules.hosts.end() || (rules.any_ip && is_ip(host));
}

bool shows_token(const AccessRules& rules, const http::RequestHead& request) {
  constexpr std::string_view kScheme = "bearer ";
  const http::Field* field = request.find("authorization");
  if (field == nullptr || !http::equals_ignoring_case(field->value.substr(0, kScheme.size()), kScheme)) return false;
  std::string_view shown = field->value.substr(kScheme.size());
  while (shown.starts_with(' ')) shown.remove_prefix(1);
  // How long it takes says nothing of where they differ.
  return shown.size() == rules.token.size() && CRYPTO_memcmp(shown.data(), rules.token.data(), shown.size()) == 0;
}

// "http://a.test:9901" is of the authority "a.test:9901".
bool is_own_origin(std::string_view origin, std::string_view authority) {
  const std::size_t slashes = origin.find("://");
  return slashes != std::string_view::npos && http::equals_ignoring_case(origin.substr(slashes + 3), authority);
}

}  // namespace

AccessRules rules_for(const config::Admin& admin, std::string token) {
  AccessRules rules{.hosts = admin.allow_hosts, .token = std::move(token)};
  for (const char* name : {"localhost", "127.0.0.1", "[::1]"}) rules.hosts.emplace_back(name);
  if (!admin.bind) return rules;
  const config::Address& bind = *admin.bind;
  switch (bind.kind) {
    case config::Address::Kind::unix_socket:
      rules.any_host = true;
      break;
    case config::Address::Kind::inherited:
      rules.any_ip = true;
      break;
    case config::Address::Kind::tcp:
      rules.any_ip = bind.host.empty() || bind.host == "0.0.0.0" || bind.host == "::";
      if (!rules.any_ip) {
        const bool v6 = bind.host.find(':') != std::string::npos;
        rules.hosts.push_back(config::lower_case(v6 ? "[" + bind.host + "]" : bind.host));
      }
      break;
  }
  return rules;
}

std::optional<Refusal> check_access(const AccessRules& rules, const http::RequestHead& request) {
  if (!knows(rules, request.authority)) {
    return Refusal{http::status::kMisdirected, "misdirected",
                   "the admin API is not called by this Host; admin.allow_hosts names those that it is called by"};
  }
  const bool trusted = !rules.token.empty() && shows_token(rules, request);
  if (!rules.token.empty() && !trusted) {
    return Refusal{http::status::kUnauthorized, "unauthorized", "this needs the field Authorization: Bearer TOKEN"};
  }
  if (http::is_safe(request.method)) return std::nullopt;
  const http::Field* own = request.find("x-dao-admin");
  if (!trusted && (own == nullptr || own->value != "1")) {
    return Refusal{http::status::kForbidden, "forbidden", "what changes something needs the field X-DAO-Admin: 1"};
  }
  if (const http::Field* origin = request.find("origin");
      origin != nullptr && !is_own_origin(origin->value, request.authority)) {
    return Refusal{http::status::kForbidden, "forbidden", "a page of another origin may change nothing here"};
  }
  return std::nullopt;
}

std::expected<std::string, std::string> read_token(const std::string& path) {
  const auto fail = [&](std::string_view why) {
    return std::unexpected(fmt::format("cannot use the admin token in {}: {}", path, why));
  };
  // A pipe that nobody writes to must not hold up the start.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(std::strerror(errno));
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } const closer{fd};
  struct stat status{};
  if (fstat(fd, &status) != 0) return fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail("it is not a file");
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    return fail(fmt::format("its mode is {:04o}: others could read or write it; chmod 0600", status.st_mode & 07777));
  }
  std::array<char, kTokenMax + 3> text{};
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(std::strerror(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  std::string_view token{text.data(), size};
  if (token.ends_with('\n')) token.remove_suffix(1);
  if (token.ends_with('\r')) token.remove_suffix(1);
  if (token.size() < kTokenMin) return fail(fmt::format("it has fewer than {} characters", kTokenMin));
  if (token.size() > kTokenMax) return fail(fmt::format("it has more than {} characters", kTokenMax));
  if (!std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; })) {
    return fail("it has to be one line of printable characters without spaces");
  }
  return std::string(token);
}

}  // namespace dao::admin
