#include "dao/config/filter_keys.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <string>
#include <utility>

#include "dao/config/address.h"
#include "dao/config/draft.h"
#include "dao/config/field_edits.h"
#include "dao/config/match_values.h"
#include "dao/config/names.h"
#include "dao/config/schema_rows.h"
#include "dao/config/text_template.h"

namespace dao::config {
namespace {

constexpr std::size_t kMostEdits = 64;
constexpr std::size_t kMostBlocks = 4096;
constexpr std::int64_t kMostRate = 1'000'000;
constexpr std::int64_t kYearMs = std::int64_t{366} * 86'400'000;

constexpr std::array kSchemes = {
    Named<std::string_view>{"http", "http", "without TLS"},
    Named<std::string_view>{"https", "https", "with TLS"},
};
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

constexpr std::string_view kEditForm = "the name of a header and its value, with variables";
constexpr std::string_view kNamesForm = "names of headers";
constexpr std::string_view kVariablesForm = "a text, with variables";

Key as_example(Key key, std::string_view absent, std::string_view example) {
  key.absent = absent;
  key.example = example;
  return key;
}

template <EditOf Of>
constexpr TemplateScope edit_scope() {
  return {.upstream = true, .status = Of == EditOf::response, .captures = -1};
}

// Names are compared without case; the same one twice would depend on the order.
bool is_new(std::string_view name, auto& edits, auto member, std::size_t index, Objections& objections) {
  const std::string lower = lower_case(name);
  const bool twice =
      std::ranges::any_of(edits, [&](const std::string& given) { return lower_case(given) == lower; }, member);
  if (twice) {
    objections.object(index, {.message = "the header " + in_quotes(name) + " is named twice",
                              .expected = "each header once; names of headers are case-insensitive"});
  }
  return !twice;
}

template <EditOf Of, EditKind Kind, auto... Field>
void store_edits(void* object, const Value& value, Objections& objections) {
  auto& edits = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto edit = parse_field_edit(value.texts[i].name, value.texts[i].text, Of, Kind, edit_scope<Of>());
    if (!edit) {
      objections.object(i, std::move(edit.error()));
    } else if (is_new(edit->name, edits, &FieldEdit::name, i, objections)) {
      edits.push_back(*std::move(edit));
    }
  }
}

template <EditOf Of, auto... Field>
void store_renamings(void* object, const Value& value, Objections& objections) {
  auto& renamings = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto from = parse_edited_name(value.texts[i].name, Of, EditKind::rename);
    auto to = parse_edited_name(value.texts[i].text, Of, EditKind::rename);
    if (!from || !to) {
      objections.object(i, std::move(from ? to.error() : from.error()));
    } else if (is_new(*from, renamings, &FieldRenaming::from, i, objections)) {
      renamings.push_back({*std::move(from), *std::move(to)});
    }
  }
}

template <EditOf Of>
Parsed<std::string> parse_removed(std::string_view text) {
  return parse_edited_name(text, Of, EditKind::remove);
}

template <EditOf Of, auto Edits>
std::vector<Key> edit_keys(const std::array<std::string_view, 4>& names, const std::array<std::string_view, 4>& docs) {
  const auto table = [](std::string_view name, std::string_view doc, std::string_view form, std::string_view example,
                        auto store) {
    return Key{.name = name,
               .kind = Kind::text_table,
               .doc = doc,
               .absent = "none",
               .form = form,
               .max_items = kMostEdits,
               .example = example,
               .store = store};
  };
  Key remove = texts<parse_removed<Of>, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::remove>(
      Kind::text_list, names[0], kNamesForm, docs[0]);
  remove.absent = "none";
  remove.max_items = kMostEdits;
  remove.example = Of == EditOf::request ? R"(["X-Debug"])" : R"(["Server", "X-Powered-By"])";
  Key rename = table(names[1], docs[1], "the old name and the new name",
                     Of == EditOf::request ? R"({ "X-Token" = "X-Client-Token" })" : R"({ "X-Old" = "X-New" })",
                     store_renamings<Of, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::rename>);
  rename.secrecy = Secrecy::none;  // its values are names
  return {remove, rename,
          table(names[2], docs[2], kEditForm,
                Of == EditOf::request ? R"({ Host = "$upstream_host", "X-Real-IP" = "$client_ip" })"
                                      : R"({ "Strict-Transport-Security" = "max-age=31536000" })",
                store_edits<Of, EditKind::set, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::set>),
          table(names[3], docs[3], kEditForm,
                Of == EditOf::request ? R"({ "X-Route" = "$route" })" : R"({ "X-Served-By" = "$upstream" })",
                store_edits<Of, EditKind::add, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::add>)};
}

template <auto... Field>
void store_addresses(void* object, const Value& value, Objections& objections) {
  AddressSet& set = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    if (value.texts[i].text == "unix") {
      set.unix_sockets = true;
    } else if (auto block = parse_address_block(value.texts[i].text)) {
      set.blocks.push_back(*block);
    } else {
      objections.object(i, std::move(block.error()));
    }
  }
}

template <auto... Field>
Key addresses(std::string_view name, std::string_view absent, std::string_view doc) {
  return {.name = name,
          .kind = Kind::text_list,
          .doc = doc,
          .absent = absent,
          .form = R"("192.0.2.7", "10.0.0.0/8" or "unix")",
          .min_items = 1,
          .max_items = kMostBlocks,
          .unique_items = true,
          .example = R"(["10.0.0.0/8", "2001:db8::/32"])",
          .store = store_addresses<Field...>};
}

// "route", "client", "intent", "header:NAME"
Parsed<std::pair<std::string, std::string>> parse_kind_and_name(std::string_view text,
                                                                std::span<const std::string_view> plain,
                                                                std::span<const std::string_view> named) {
  if (std::ranges::find(plain, text) != plain.end()) return std::pair{std::string(text), std::string()};
  for (const std::string_view kind : named) {
    if (!text.starts_with(kind) || !text.substr(kind.size()).starts_with(':')) continue;
    const std::string_view name = text.substr(kind.size() + 1);
    if (!is_token(name)) {
      return std::unexpected(
          Problem{fmt::format("{} is not the name of a {}", in_quotes(name), kind), "an HTTP token (RFC 9110)"});
    }
    return std::pair{std::string(kind), std::string(name)};
  }
  std::string list;
  for (const auto name : plain) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
  for (const auto name : named) list += fmt::format(", \"{}:NAME\"", name);
  return std::unexpected(Problem{in_quotes(text) + " is not a known value", "one of " + list});
}

void store_limit_key(void* object, const Value& value, Objections& objections) {
  static constexpr std::string_view kPlain[] = {"route", "client", "intent"};
  static constexpr std::string_view kNamed[] = {"header"};
  RateLimit& limit = field_of<&RuleDraft::rule, &Rule::filters, &Filters::rate_limit>(object);
  auto parsed = parse_kind_and_name(value.texts.front().text, kPlain, kNamed);
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  using enum RateLimit::Key;
  limit.key = parsed->first == "route"    ? route
              : parsed->first == "client" ? client
              : parsed->first == "intent" ? intent
                                          : header;
  limit.header = std::move(parsed->second);
}

void store_split_by(void* object, const Value& value, Objections& objections) {
  static constexpr std::string_view kPlain[] = {"client"};
  static constexpr std::string_view kNamed[] = {"header", "cookie"};
  Split& split = field_of<&RuleDraft::rule, &Rule::split>(object);
  auto parsed = parse_kind_and_name(value.texts.front().text, kPlain, kNamed);
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  using enum Split::By;
  split.by = parsed->first == "client" ? client : parsed->first == "header" ? header : cookie;
  split.name = std::move(parsed->second);
}

Table rate_limit_table() {
  Table table{.name = "rate_limit",
              .doc =
                  "How many requests the rule takes; those beyond get a 429 with `Retry-After`. The count is one for "
                  "all workers.",
              .exclusive = "rps rpm"};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto limit = &Filters::rate_limit;
  constexpr auto filters = &Rule::filters;
  constexpr auto rule = &RuleDraft::rule;
  Key rps = integer<rule, filters, limit, &RateLimit::rps>("rps", std::monostate{}, {1, kMostRate},
                                                           "requests per second", "The rate that is held over time.");
  Key rpm = integer<rule, filters, limit, &RateLimit::rpm>("rpm", std::monostate{}, {1, kMostRate},
                                                           "requests per minute", "The same by the minute.");
  Key burst = integer<rule, filters, limit, &RateLimit::burst>(
      "burst", std::monostate{}, {1, kMostRate}, "requests",
      "How many may come at once after a pause; they are then missing from what follows. 1 = evenly spaced only.");
  rps.absent = rpm.absent = "as the other one says";
  rps.example = "100";
  burst.absent = "a tenth of `rps` or `rpm`, at least 1";
  Key key{.name = "key",
          .kind = Kind::text,
          .doc =
              "What has a rate of its own: all requests of the rule together (`route`), each client address "
              "(`client`), each value of a header (`header:X-Api-Key`; requests without it share one), each intent "
              "(`intent`).",
          .fallback = std::string_view("route"),
          .form = R"("route", "client", "intent" or "header:NAME")",
          .pattern = "^(route|client|intent|header:.+)$",
          .example = "\"client\"",
          .store = store_limit_key};
  table.keys = {rps,
                rpm,
                burst,
                key,
                integer<rule, filters, limit, &RateLimit::keys_max>(
                    "keys_max", 65'536, {64, 16'777'216}, "keys",
                    "How many keys are told apart at the same time, 8 bytes each; beyond that the one closest to its "
                    "full burst is forgotten. A key that has its full burst again takes no room."),
                boolean<rule, filters, limit, &RateLimit::announce>(
                    "headers", true,
                    "Whether responses tell by `RateLimit` and `RateLimit-Policy` what is left "
                    "(draft-ietf-httpapi-ratelimit-headers-10).")};
  return table;
}

Table filters_table() {
  Table table{.name = "filters",
              .doc =
                  "What is done to requests and responses of the rule; docs/filters.md has the order and the "
                  "variables. Within a message fields are removed, then renamed, then set, then added."};
  table.enter = [](void* rule) -> void* { return rule; };
  table.keys = edit_keys<EditOf::request, &Filters::request>(
      {"request_headers_remove", "request_headers_rename", "request_headers_set", "request_headers_add"},
      {"Fields that the upstream does not get.", "Fields that the upstream gets by another name.",
       "Fields that the upstream gets with this value alone, whatever the client sent. `Host` is what the upstream "
       "sees as its name (`$upstream_host`: the one of its URL).",
       "Fields that the upstream gets beside what is there already. A value that is empty once its variables are known "
       "sets or adds nothing."});
  const std::vector<Key> response = edit_keys<EditOf::response, &Filters::response>(
      {"response_headers_remove", "response_headers_rename", "response_headers_set", "response_headers_add"},
      {"Fields that the client does not get.", "Fields that the client gets by another name.",
       "Fields that the client gets with this value alone. These keys also hold for answers of DAO's own in this rule.",
       "Fields that the client gets beside what is there already."});
  table.keys.insert(table.keys.end(), response.begin(), response.end());
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto filters = &Rule::filters;
  Key rps = integer<rule, filters, &Filters::rate_limit_rps>(
      "rate_limit_rps", std::monostate{}, {1, kMostRate}, "requests per second",
      "Short for `[routes.rule.filters.rate_limit]` with this `rps` and nothing else.");
  rps.absent = "no limit";
  const std::vector<Key> others = {
      rps,
      integer<rule, filters, &Filters::request_body_max_bytes>(
          "request_body_max_bytes", 0, {0, std::int64_t{1} << 50}, "bytes",
          "The largest request body of this rule; a larger one gets a 413. `server.body_max_bytes` holds too. 0 = no "
          "limit of its own."),
      integer<rule, filters, &Filters::response_body_max_bytes>(
          "response_body_max_bytes", 0, {0, std::int64_t{1} << 50}, "bytes",
          "The largest response body of an upstream; a larger one becomes a 502, or is cut off if its size was not "
          "announced. 0 = no limit."),
      addresses<rule, filters, &Filters::allow>("allow", "every client",
                                                "Only these clients; others get a 403. The client is who connected, "
                                                "or, behind `trusted_proxies`, who `X-Forwarded-For` says it is."),
      addresses<rule, filters, &Filters::deny>("deny", "nobody",
                                               "Not these clients, even if `allow` has them; they get a 403.")};
  table.keys.insert(table.keys.end(), others.begin(), others.end());
  table.tables = {rate_limit_table()};
  return table;
}

// A prefix is compared segment by segment, so a slash at its end says nothing.
Parsed<std::string> parse_prefix(std::string_view text) {
  auto path = parse_path(text);
  if (!path) return path;
  while (path->ends_with('/')) path->pop_back();
  return path;
}
Parsed<std::optional<std::string>> parse_optional_prefix(std::string_view text) {
  auto path = parse_prefix(text);
  if (!path) return std::unexpected(std::move(path.error()));
  return *std::move(path);
}

Parsed<std::string> parse_regex(std::string_view text) {
  const RE2 regex(re2::StringPiece(text.data(), text.size()), RE2::Quiet);
  if (text.empty()) return std::unexpected(Problem{"the regular expression is empty", "a regular expression of RE2"});
  if (!regex.ok()) {
    return std::unexpected(Problem{"not a regular expression: " + regex.error(),
                                   "the syntax of RE2, which has no backreferences and no lookaround"});
  }
  return std::string(text);
}

void store_replacement(void* object, const Value& value, Objections& objections) {
  Rewrite& rewrite = field_of<&RuleDraft::rule, &Rule::rewrite>(object);
  if (rewrite.regex.empty()) return;  // check_filters says so
  const RE2 regex(rewrite.regex, RE2::Quiet);
  auto parsed = parse_template(value.texts.front().text, {.captures = regex.NumberOfCapturingGroups()});
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  rewrite.replacement = *std::move(parsed);
}

Table rewrite_table() {
  Table table{.name = "rewrite",
              .doc =
                  "The path that the upstream is asked for; the query stays as it is. Matched byte for byte as "
                  "sent, nothing is decoded.",
              .exclusive = "strip_prefix regex"};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto rewrite = &Rule::rewrite;
  Key replacement{.name = "replacement",
                  .kind = Kind::text,
                  .doc =
                      "What stands in place of each match of `regex`: `$0` for all of the match, `$1` to `$9` for "
                      "its groups, and the variables.",
                  .absent = "matches are cut out",
                  .form = kVariablesForm,
                  .example = "\"/users/$1\"",
                  .store = store_replacement};
  table.keys = {
      as_example(text<parse_prefix, rule, rewrite, &Rewrite::strip_prefix>(
                     "strip_prefix", R"(a path starting with "/")",
                     "Taken from the start of the path, if that begins with these segments: `/api` of `/api/x` and "
                     "`/api`, not of `/apis`."),
                 "nothing", "\"/api\""),
      as_example(text<parse_optional_prefix, rule, rewrite, &Rewrite::replace_prefix>(
                     "replace_prefix", R"(a path starting with "/")",
                     "What stands in place of `strip_prefix`, or, without that, of the `path_prefix` of the rule."),
                 "nothing stands there", "\"/v2\""),
      as_example(text<parse_regex, rule, rewrite, &Rewrite::regex>(
                     "regex", "a regular expression of RE2",
                     "All that matches in the path, without its query, is replaced. The time it takes is linear in "
                     "the path, whatever the expression."),
                 "none", R"("^/u/([0-9]+)$")"),
      replacement};
  for (Key& key : table.keys) {
    if (key.name == "strip_prefix" || key.name == "replace_prefix") key.pattern = "^/[^?#\\s]*$";
  }
  return table;
}

template <auto... Field>
void store_text(void* object, const Value& value, Objections& objections) {
  auto parsed = parse_template(value.texts.front().text, {});
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  field_of<Field...>(object) = *std::move(parsed);
}

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

void store_response_headers(void* object, const Value& value, Objections& objections) {
  auto& headers = field_of<&RuleDraft::rule, &Rule::respond, &Respond::headers>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto edit = parse_field_edit(value.texts[i].name, value.texts[i].text, EditOf::response, EditKind::set, {});
    if (!edit) {
      objections.object(i, std::move(edit.error()));
    } else if (is_new(edit->name, headers, &FieldEdit::name, i, objections)) {
      headers.push_back(*std::move(edit));
    }
  }
}

Table respond_table() {
  Table table{.name = "respond", .doc = "DAO answers itself, always the same. Such a rule has no upstreams."};
  table.enter = [](void* rule) -> void* { return rule; };
  Key status = integer<&RuleDraft::rule, &Rule::respond, &Respond::status>("status", std::monostate{}, {200, 599}, "",
                                                                           "The status; needed.");
  status.absent = "no fixed response";
  status.example = "503";
  Key body{.name = "body",
           .kind = Kind::text,
           .doc = "The body.",
           .absent = "none",
           .form = kVariablesForm,
           .example = R"("closed for today\n")",
           .store = [](void* object, const Value& value, Objections& objections) {
             constexpr std::size_t kMost = 65'536;
             if (value.texts.front().text.size() > kMost) {
               return objections.object(0, {.message = "the body is too large", .expected = "at most 65536 bytes"});
             }
             store_text<&RuleDraft::rule, &Rule::respond, &Respond::body>(object, value, objections);
           }};
  Key headers{.name = "headers",
              .kind = Kind::text_table,
              .doc = "Fields of the response.",
              .absent = "`Content-Type: text/plain; charset=utf-8`, if there is a body",
              .form = kEditForm,
              .max_items = kMostEdits,
              .example = R"({ "Content-Type" = "text/html", "Retry-After" = "600" })",
              .store = store_response_headers};
  table.keys = {status, body, headers};
  return table;
}

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

template <auto Field>
void store_named_values(void* object, const Value& value, Objections& objections) {
  auto& values = field_of<Field>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto parsed = parse_header_match(value.texts[i].name, value.texts[i].text);
    if (!parsed) {
      objections.object(i, std::move(parsed.error()));
    } else {
      // Names of cookies have a case.
      constexpr bool kCookie =
          std::is_same_v<decltype(Field), std::vector<NamedValue> SplitGroup::*> && Field == &SplitGroup::cookies;
      values.push_back({kCookie ? value.texts[i].name : parsed->name, parsed->value});
    }
  }
}

Key with_weight_example(Key key) {
  key.example = "5";
  return key;
}

Table split_table() {
  Table table{.name = "split",
              .doc =
                  "A part of the traffic for some of the upstreams: canary releases, A/B tests. The first group "
                  "whose conditions hold takes the request; otherwise those with a weight share it; without any, "
                  "it goes to the upstreams that no group has.",
              .repeated = true,
              .order_matters = true};
  table.enter = [](void* rule) -> void* {
    return &field_of<&RuleDraft::rule, &Rule::split, &Split::groups>(rule).emplace_back();
  };
  Key name = text<parse_name, &SplitGroup::name>("name", "printable ASCII characters, at most 128",
                                                 "The name of the group, `$split`; unique in the rule.");
  name.required = true;
  name.example = "\"canary\"";
  Key upstreams = texts<parse_name, &SplitGroup::upstreams>(Kind::text_or_list, "upstreams", "names of upstreams",
                                                            "Which upstreams of the rule serve the group.");
  upstreams.required = true;
  upstreams.min_items = 1;
  upstreams.example = R"(["api-1"])";
  const auto condition = [](std::string_view key_name, std::string_view doc, std::string_view example, auto store) {
    return Key{.name = key_name,
               .kind = Kind::text_table,
               .doc = doc,
               .absent = "no such condition",
               .form = "a name and its value",
               .max_items = kMostEdits,
               .example = example,
               .store = store};
  };
  table.keys = {name,
                with_weight_example(integer<&SplitGroup::weight>(
                    "weight", 0, {0, 1'000'000}, "",
                    "The share of the group, relative to the others with a weight; one client "
                    "stays in one group (`split_by`). 0 = by its conditions only.")),
                condition("headers", "All of these headers are there with exactly these values.",
                          R"({ "X-Canary" = "1" })", store_named_values<&SplitGroup::headers>),
                condition("cookies", "All of these cookies are there with exactly these values.",
                          R"({ canary = "yes" })", store_named_values<&SplitGroup::cookies>),
                upstreams};
  return table;
}

// One rule, with where it stands.
class RuleCheck {
 public:
  RuleCheck(const Applied& applied, Findings& findings, std::size_t number)
      : applied_(applied),
        findings_(findings),
        draft_(applied.draft.rules[number]),
        path_(fmt::format("routes.rule[{}]", number)) {}

  void run() {
    upstreams();
    rate_limit();
    body_limit();
    rewrite();
    redirect();
    respond();
    sticky();
    split();
  }

 private:
  [[nodiscard]] std::string at(std::string_view key) const { return fmt::format("{}.{}", path_, key); }
  [[nodiscard]] bool given(std::string_view key) const { return applied_.places.contains(at(key)); }
  [[nodiscard]] Position place(const std::string& path) const {
    const auto found = applied_.places.find(path);
    if (found != applied_.places.end()) return found->second;
    const auto rule = applied_.places.find(path_);
    return rule == applied_.places.end() ? Position{} : rule->second;
  }
  void error(std::string_view key, std::string message, std::string expected) {
    findings_.error(place(at(key)), at(key), {.message = std::move(message), .expected = std::move(expected)});
  }
  void warning(std::string_view key, std::string message, std::string expected) {
    findings_.warning(place(at(key)), at(key), {.message = std::move(message), .expected = std::move(expected)});
  }

  void upstreams() {
    // An array that is not one of tables was reported already, and so was what it holds.
    const bool none = draft_.upstreams.empty() && !given("upstreams[0]");
    if (none && !given("redirect") && !given("respond")) {
      error("upstreams", "the rule has no upstreams", "at least one [[routes.rule.upstreams]]");
    }
  }

  void rate_limit() {
    const Filters& filters = draft_.rule.filters;
    if (!given("filters.rate_limit")) return;
    if (given("filters.rate_limit_rps")) {
      error("filters.rate_limit_rps", "the rate limit is given twice",
            "either \"rate_limit_rps\" or [routes.rule.filters.rate_limit]");
    } else if (!given("filters.rate_limit.rps") && !given("filters.rate_limit.rpm")) {
      error("filters.rate_limit", "a rate limit without a rate", "\"rps\" or \"rpm\"");
    }
    if (filters.rate_limit.key == RateLimit::Key::route && given("filters.rate_limit.keys_max")) {
      warning("filters.rate_limit.keys_max", "there is one key only", "another \"key\" than \"route\"");
    }
  }

  void body_limit() {
    const std::uint64_t own = draft_.rule.filters.request_body_max_bytes;
    const std::uint64_t all = applied_.draft.config.server.body_max_bytes;
    if (all != 0 && own > all) {
      warning("filters.request_body_max_bytes", fmt::format("the server's own limit, {}, is smaller", all),
              "at most \"server.body_max_bytes\"");
    }
  }

  void rewrite() {
    const Rewrite& rewrite = draft_.rule.rewrite;
    if (given("rewrite.replacement") && !given("rewrite.regex")) {
      error("rewrite.replacement", "there is nothing to replace", "\"regex\" with it");
    }
    if (!given("rewrite.replace_prefix")) return;
    if (given("rewrite.regex")) {
      error("rewrite.replace_prefix", "\"replace_prefix\" and \"regex\" exclude each other", "only one of them");
    } else if (!given("rewrite.strip_prefix") && !draft_.rule.match.path_prefix && rewrite.replace_prefix) {
      error("rewrite.replace_prefix", "there is no prefix to replace",
            "\"strip_prefix\", or \"path_prefix\" in [routes.rule.match]");
    }
  }

  void redirect() {
    if (!given("redirect")) return;
    const Redirect& redirect = draft_.rule.redirect;
    if (!redirect.on() && !given("redirect.host") && !given("redirect.path")) {
      error("redirect", "a redirect to the same place", "\"scheme\", \"host\", \"port\" or \"path\"");
    }
    constexpr std::array kStatuses = {301, 302, 303, 307, 308};
    if (std::ranges::find(kStatuses, redirect.status) == kStatuses.end()) {
      error("redirect.status", fmt::format("{} is no redirect", redirect.status), "301, 302, 303, 307 or 308");
    }
    if (given("respond")) error("respond", "\"redirect\" and \"respond\" exclude each other", "only one of them");
  }

  void respond() {
    if (!given("respond")) return;
    const Respond& respond = draft_.rule.respond;
    if (!given("respond.status")) error("respond", "a response without a status", "\"status\"");
    constexpr std::uint16_t kNoContent = 204;
    constexpr std::uint16_t kResetContent = 205;
    constexpr std::uint16_t kNotModified = 304;
    const bool empty =
        respond.status == kNoContent || respond.status == kResetContent || respond.status == kNotModified;
    if (empty && !respond.body.empty()) {
      error("respond.body", fmt::format("a {} has no body", respond.status), "another status, or no body");
    }
    for (const std::string_view unused : {"upstreams", "rewrite", "sticky", "split"}) {
      if (given(unused)) error(unused, "never used: the rule answers by itself", "no [routes.rule.respond]");
    }
  }

  void sticky() {
    if (!given("sticky")) return;
    if (!given("sticky.cookie")) error("sticky", "no name for the cookie", "\"cookie\"");
    if (!given("sticky.secret") && !given("sticky.secret_file")) {
      error("sticky", "nothing to sign the cookie with", "\"secret\" or \"secret_file\"");
    }
    const Sticky& sticky = draft_.rule.sticky;
    if (sticky.same_site == SameSite::none && sticky.secure == SecureCookie::never) {
      error("sticky.secure", "browsers refuse a cookie with SameSite=None that is not secure",
            "\"auto\" or \"always\"");
    }
  }

  void split() {
    const Split& split = draft_.rule.split;
    const auto& groups = split.groups;
    if (groups.empty()) {
      if (given("split_by")) warning("split_by", "there are no groups", "[[routes.rule.split]]");
      return;
    }
    std::vector<bool> in_a_group(draft_.upstreams.size());
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const SplitGroup& group = groups[i];
      const std::string key = fmt::format("split[{}]", i);
      for (std::size_t j = 0; j < i; ++j) {
        if (group.name.empty() || groups[j].name != group.name) continue;
        error(key + ".name", fmt::format("the group {} is there already", in_quotes(group.name)),
              "a different name for each group");
        break;
      }
      if (group.weight == 0 && !given(key + ".headers") && !given(key + ".cookies")) {
        error(key, "no request gets into this group", "\"weight\", \"headers\" or \"cookies\"");
      }
      for (std::size_t k = 0; k < group.upstreams.size(); ++k) {
        const auto found = std::ranges::find(draft_.upstreams, group.upstreams[k], &UpstreamDraft::name);
        if (found != draft_.upstreams.end()) {
          in_a_group[static_cast<std::size_t>(found - draft_.upstreams.begin())] = true;
        } else if (!group.upstreams[k].empty()) {
          const std::string item = fmt::format("{}.upstreams[{}]", key, k);
          error(given(item) ? item : key + ".upstreams",
                fmt::format("the rule has no upstream {}", in_quotes(group.upstreams[k])),
                "the name of one of its [[routes.rule.upstreams]]");
        }
      }
    }
    const bool weighted = std::ranges::any_of(groups, [](const SplitGroup& group) { return group.weight > 0; });
    const auto left_out = std::ranges::find(in_a_group, false);
    if (!weighted && left_out == in_a_group.end()) {
      error("split", "no upstream is left for requests that no group takes",
            "a group with a weight, or an upstream that is in no group");
    }
    if (weighted && left_out != in_a_group.end()) {
      const auto number = static_cast<std::size_t>(left_out - in_a_group.begin());
      warning(fmt::format("upstreams[{}]", number), "no request reaches this upstream: groups with a weight take all",
              "a group that has it");
    }
  }

  const Applied& applied_;
  Findings& findings_;
  const RuleDraft& draft_;
  const std::string path_;
};

}  // namespace

std::vector<Table> filter_tables() {
  return {filters_table(), rewrite_table(), redirect_table(), respond_table(), sticky_table(), split_table()};
}

std::vector<Key> filter_keys() {
  return {{.name = "split_by",
           .kind = Kind::text,
           .doc = "What decides which group of `[[routes.rule.split]]` a client is in by weight: its address, or the "
                  "value of a header or cookie; requests without that go by the address.",
           .fallback = std::string_view("client"),
           .form = R"("client", "header:NAME" or "cookie:NAME")",
           .pattern = "^(client|header:.+|cookie:.+)$",
           .example = "\"cookie:session\"",
           .store = store_split_by}};
}

void check_filters(const Applied& applied, Findings& findings) {
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) RuleCheck(applied, findings, i).run();
}

void complete_filters(RuleDraft& draft) {
  Rule& rule = draft.rule;
  RateLimit& limit = rule.filters.rate_limit;
  if (rule.filters.rate_limit_rps != 0) limit.rps = rule.filters.rate_limit_rps;
  if (limit.on() && limit.burst == 0) limit.burst = std::max(1U, (limit.rps != 0 ? limit.rps : limit.rpm) / 10);

  Rewrite& rewrite = rule.rewrite;
  rewrite.match_prefix = rewrite.strip_prefix;
  if (rewrite.match_prefix.empty() && rewrite.replace_prefix) {
    rewrite.match_prefix = rule.match.path_prefix.value_or("/");
    while (rewrite.match_prefix.size() > 1 && rewrite.match_prefix.ends_with('/')) rewrite.match_prefix.pop_back();
  }
  if (rule.respond.on() && !rule.respond.body.empty()) {
    const bool typed = std::ranges::any_of(
        rule.respond.headers, [](const FieldEdit& field) { return lower_case(field.name) == "content-type"; });
    if (!typed) {
      rule.respond.headers.push_back({"Content-Type", {{Variable::literal, "text/plain; charset=utf-8"}}});
    }
  }
  for (SplitGroup& group : rule.split.groups) {
    for (const std::string& name : group.upstreams) {
      const auto found = std::ranges::find(draft.upstreams, name, &UpstreamDraft::name);
      group.members.push_back(static_cast<std::size_t>(found - draft.upstreams.begin()));
    }
  }
}

}  // namespace dao::config
