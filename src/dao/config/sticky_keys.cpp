#include "dao/config/sticky_keys.h"

#include <algorithm>
#include <array>
#include <string>

#include "dao/config/address.h"
#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

constexpr std::int64_t kYearMs = std::int64_t{366} * 86'400'000;

constexpr std::array kSameSite = {
    Named<SameSite>{"lax", SameSite::lax, "the browser sends it when another site links here"},
    Named<SameSite>{"strict", SameSite::strict, "only for requests of the same site"},
    Named<SameSite>{"none", SameSite::none, "always; browsers then want `secure`"},
    Named<SameSite>{"unset", SameSite::unset, "no such attribute"},
};
constexpr std::array kSecure = {
    Named<SecureCookie>{"auto", SecureCookie::auto_, "if the client came by TLS"},
    Named<SecureCookie>{"always", SecureCookie::always, "always"},
    Named<SecureCookie>{"never", SecureCookie::never, "never"},
};

Parsed<std::string> parse_cookie_attribute(std::string_view text) {
  const bool good = !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != ';'; });
  if (!good)
    return std::unexpected(Problem{in_quotes(text) + " cannot stand in a cookie", "printable ASCII, no \";\""});
  return std::string(text);
}
Parsed<std::string> parse_secret(std::string_view text) {
  constexpr std::size_t kLeast = 16;
  if (text.size() < kLeast) return std::unexpected(Problem{"the secret is too short", "at least 16 bytes"});
  return std::string(text);
}
Parsed<std::string> parse_secret_path(std::string_view text) {
  auto path = parse_log_path(text);
  if (!path || path->empty() || *path == "-") {
    return std::unexpected(Problem{in_quotes(text) + " cannot be the path of a file", "the path of a file"});
  }
  return path;
}

}  // namespace

Table sticky_table() {
  Table table{.name = "sticky",
              .doc =
                  "A client comes back to the upstream that answered it first, by a cookie that names it without "
                  "telling which it is (HMAC-SHA256 of its name). When that upstream is not to be had, another one "
                  "answers and the cookie is set anew.",
              .exclusive = "secret secret_file"};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto sticky = &Rule::sticky;
  Key path = text<parse_cookie_attribute, rule, sticky, &Sticky::path>("path", "a path", "Where the cookie is sent.");
  path.fallback = std::string_view("/");
  Key secret = as_example(text<parse_secret, rule, sticky, &Sticky::secret>(
                              "secret", "at least 16 bytes",
                              "What the cookie is signed with; the same on every DAO before the same upstreams."),
                          "`secret_file` has it", R"("a long random text that nobody else knows")");
  secret.secrecy = Secrecy::all;
  table.keys = {
      as_example(text<parse_token, rule, sticky, &Sticky::cookie>("cookie", "an HTTP token",
                                                                  "The name of the cookie; needed."),
                 "clients are not kept", "\"dao_route\""),
      secret,
      as_example(text<parse_secret_path, rule, sticky, &Sticky::secret_file>(
                     "secret_file", "the path of a file",
                     "The same from a file, read at the start; blank space at its end does not count."),
                 "`secret` has it", "\"/etc/dao/sticky.secret\""),
      integer<rule, sticky, &Sticky::ttl>("ttl_ms", 0, {0, kYearMs}, "ms",
                                          "How long the browser keeps the cookie; 0 = until it is closed."),
      path,
      as_example(text<parse_cookie_attribute, rule, sticky, &Sticky::domain>("domain", "a host name",
                                                                             "`Domain` of the cookie."),
                 "the host that was asked", "\"example.org\""),
      choice<kSecure, rule, sticky, &Sticky::secure>("secure", "auto", "Whether the cookie travels by TLS only."),
      boolean<rule, sticky, &Sticky::http_only>("http_only", true, "Whether scripts of the page cannot read it."),
      choice<kSameSite, rule, sticky, &Sticky::same_site>("same_site", "lax",
                                                          "When browsers send it with requests of other sites."),
  };
  return table;
}

void check_sticky(FilterCheck& check) {
  if (!check.given("sticky")) return;
  if (!check.given("sticky.cookie")) check.error("sticky", "no name for the cookie", "\"cookie\"");
  if (!check.given("sticky.secret") && !check.given("sticky.secret_file")) {
    check.error("sticky", "nothing to sign the cookie with", "\"secret\" or \"secret_file\"");
  }
  const Sticky& sticky = check.draft().rule.sticky;
  if (sticky.same_site == SameSite::none && sticky.secure == SecureCookie::never) {
    check.error("sticky.secure", "browsers refuse a cookie with SameSite=None that is not secure",
                "\"auto\" or \"always\"");
  }
}

}  // namespace dao::config
