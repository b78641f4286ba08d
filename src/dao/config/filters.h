// The filters of a rule as the configuration has them; what each does is in docs/filters.md. Plain values, made by
// load.h, which guarantees what the comments say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/address_block.h"

namespace dao::config {

// What a piece of a text with variables stands for.
enum class Variable : std::uint8_t {
  literal,
  client_ip,
  client_port,
  scheme,
  host,
  authority,
  method,
  path,
  query,
  request_uri,
  route,
  upstream,
  upstream_host,
  intent,
  split,
  trace_id,
  request_id,
  status,
  header,   // `text`: its name
  cookie,   // `text`: its name
  capture,  // `number`: the group of a regular expression, 0..9; 0 = all that matched
};

struct TextPiece {
  Variable variable = Variable::literal;
  std::string text{};
  std::uint8_t number = 0;

  friend bool operator==(const TextPiece&, const TextPiece&) = default;
};
// "https://$host/x" as a list of pieces. Literals stand never side by side.
using TextTemplate = std::vector<TextPiece>;

struct FieldEdit {
  std::string name;  // a token, spelled as the operator did
  TextTemplate value;
};
struct FieldRenaming {
  std::string from;
  std::string to;
};
// Done in this order. No name is one that DAO itself must decide on (field_edits.h).
struct FieldEdits {
  std::vector<std::string> remove;
  std::vector<FieldRenaming> rename;
  std::vector<FieldEdit> set;
  std::vector<FieldEdit> add;
};

struct RateLimit {
  enum class Key : std::uint8_t { route, client, header, intent };

  std::uint32_t rps = 0;    // requests per second, or
  std::uint32_t rpm = 0;    // per minute; both 0 = no limit, never both
  std::uint32_t burst = 0;  // requests that may come at once; > 0 if there is a limit
  Key key = Key::route;
  std::string header{};        // Key::header: its name
  std::uint32_t keys_max = 0;  // kept at the same time
  bool announce = true;        // by fields of the response

  [[nodiscard]] bool on() const { return rps != 0 || rpm != 0; }

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

struct Filters {
  FieldEdits request;
  FieldEdits response;
  RateLimit rate_limit;
  std::uint32_t rate_limit_rps = 0;           // the key as it was given; `rate_limit` has it too
  std::uint64_t request_body_max_bytes = 0;   // 0 = no limit of the rule's own
  std::uint64_t response_body_max_bytes = 0;  // 0 = no limit
  AddressSet allow;                           // if there is any, all others are denied
  AddressSet deny;
};

struct Rewrite {
  std::string strip_prefix;                   // empty, or starts with '/', without a slash at its end
  std::optional<std::string> replace_prefix;  // the same; what stands in its place
  std::string regex;                          // RE2; empty = none. Never with the two above
  TextTemplate replacement;                   // may be empty
  std::string match_prefix;                   // the prefix that `replace_prefix` replaces

  [[nodiscard]] bool on() const { return !match_prefix.empty() || !regex.empty(); }
};

struct Redirect {
  std::string scheme;  // "http", "https" or empty = that of the request
  TextTemplate host;   // empty = that of the request
  std::uint16_t port = 0;
  TextTemplate path;  // empty = that of the request
  bool keep_query = true;
  std::uint16_t status = 308;  // 301, 302, 303, 307 or 308

  [[nodiscard]] bool on() const { return !scheme.empty() || !host.empty() || port != 0 || !path.empty(); }
};

struct Respond {
  std::uint16_t status = 0;  // 200..599; 0 = no fixed response
  TextTemplate body;
  std::vector<FieldEdit> headers;  // Content-Type among them, if there is a body

  [[nodiscard]] bool on() const { return status != 0; }
};

enum class SameSite : std::uint8_t { unset, lax, strict, none };
enum class SecureCookie : std::uint8_t { auto_, always, never };

struct Sticky {
  std::string cookie;       // its name, a token; empty = off
  std::string secret;       // one of both
  std::string secret_file;  // a path
  Milliseconds ttl{};       // 0 = until the browser is closed
  std::string path = "/";
  std::string domain;  // empty = the host that was asked
  SecureCookie secure = SecureCookie::auto_;
  bool http_only = true;
  SameSite same_site = SameSite::lax;

  [[nodiscard]] bool on() const { return !cookie.empty(); }
};

struct NamedValue {
  std::string name;
  std::string value;  // compared exactly
};

struct SplitGroup {
  std::string name;  // unique in its rule
  std::uint32_t weight = 0;
  std::vector<NamedValue> headers;
  std::vector<NamedValue> cookies;
  std::vector<std::string> upstreams;  // names, as they were given
  std::vector<std::size_t> members{};  // the same, as positions in Rule::upstreams

  [[nodiscard]] bool has_condition() const { return !headers.empty() || !cookies.empty(); }
};

struct Split {
  enum class By : std::uint8_t { client, header, cookie };

  By by = By::client;  // what decides by weight, so that one client always gets the same group
  std::string name{};  // of the header or cookie
  std::vector<SplitGroup> groups;

  [[nodiscard]] bool on() const { return !groups.empty(); }
};

}  // namespace dao::config
