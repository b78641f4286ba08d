#include "dao/config/redirect_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

constexpr std::array kSchemes = {
    Named<std::string_view>{"http", "http", "without TLS"},
    Named<std::string_view>{"https", "https", "with TLS"},
};

void store_redirect_host(void* object, const Value& value, Objections& objections) {
  const std::string& host = value.texts.front().text;
  constexpr std::string_view kNever = "/?#@\\ \t\"<>";
  if (host.empty() || host.find_first_of(kNever) != std::string::npos || host.find("://") != std::string::npos) {
    return objections.object(0, {.message = in_quotes(host) + " is not a host", .expected = "a host without port"});
  }
  store_text<&RuleDraft::rule, &Rule::redirect, &Redirect::host>(object, value, objections);
}

void store_redirect_path(void* object, const Value& value, Objections& objections) {
  const std::string& path = value.texts.front().text;
  if (!path.starts_with('/') && !path.starts_with("$path") && !path.starts_with("${path}")) {
    return objections.object(0, {.message = "the path does not start with \"/\"", .expected = "a path like \"/new\""});
  }
  if (path.find_first_of("#\\") != std::string::npos) {
    return objections.object(
        0, {.message = "a path without fragment and backslash is wanted", .expected = "a path like \"/new\""});
  }
  store_text<&RuleDraft::rule, &Rule::redirect, &Redirect::path>(object, value, objections);
}

}  // namespace

Table redirect_table() {
  Table table{.name = "redirect",
              .doc =
                  "The client is sent elsewhere. A request that is already where it would be sent passes: one rule "
                  "can redirect to https and serve it. The query is kept. Such a rule needs no upstreams."};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto redirect = &Rule::redirect;
  Key scheme{.name = "scheme",
             .kind = Kind::text,
             .doc = "The scheme of the new URL. Behind `trusted_proxies`, that of the request is `X-Forwarded-Proto`.",
             .absent = "that of the request",
             .choices = choices_of<kSchemes>(),
             .example = "\"https\"",
             .store = [](void* object, const Value& value, Objections&) {
               field_of<&RuleDraft::rule, &Rule::redirect, &Redirect::scheme>(object) = value.texts.front().text;
             }};
  Key host{.name = "host",
           .kind = Kind::text,
           .doc = "The host of the new URL, without port.",
           .absent = "that of the request",
           .form = "a host, with variables",
           .example = "\"www.example.org\"",
           .store = store_redirect_host};
  Key port =
      integer<rule, redirect, &Redirect::port>("port", std::monostate{}, {1, 65'535}, "", "The port of the new URL.");
  port.absent = "that of the request; the scheme's own if `scheme` or `host` is given";
  Key path{.name = "path",
           .kind = Kind::text,
           .doc = "The path of the new URL; `$path` is that of the request. It may have a query of its own.",
           .absent = "that of the request",
           .form = kVariablesForm,
           .example = "\"/new$path\"",
           .store = store_redirect_path};
  table.keys = {scheme,
                host,
                port,
                path,
                boolean<rule, redirect, &Redirect::keep_query>("keep_query", true,
                                                               "Whether the query of the request goes with it."),
                integer<rule, redirect, &Redirect::status>(
                    "status", 308, {301, 308}, "",
                    "301 or 308: permanent; 302 or 307: for this time; 303: to be fetched with GET. 307 and 308 keep "
                    "the method.")};
  return table;
}

void check_redirect(FilterCheck& check) {
  if (!check.given("redirect")) return;
  const Redirect& redirect = check.draft().rule.redirect;
  if (!redirect.on() && !check.given("redirect.host") && !check.given("redirect.path")) {
    check.error("redirect", "a redirect to the same place", "\"scheme\", \"host\", \"port\" or \"path\"");
  }
  constexpr std::array kStatuses = {301, 302, 303, 307, 308};
  if (std::ranges::find(kStatuses, redirect.status) == kStatuses.end()) {
    check.error("redirect.status", fmt::format("{} is no redirect", redirect.status), "301, 302, 303, 307 or 308");
  }
  if (check.given("respond"))
    check.error("respond", "\"redirect\" and \"respond\" exclude each other", "only one of them");
}

}  // namespace dao::config
