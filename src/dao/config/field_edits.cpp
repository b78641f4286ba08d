#include "dao/config/field_edits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "dao/config/names.h"

namespace dao::config {
namespace {

// RFC 9110 section 7.6.1, and what says where a message ends.
constexpr std::array<std::string_view, 10> kOfTheConnection = {
    "connection",        "keep-alive", "proxy-connection", "te",     "trailer",
    "transfer-encoding", "upgrade",    "http2-settings",   "expect", "content-length"};
constexpr std::array<std::string_view, 3> kOfTheHandshake = {"sec-websocket-key", "sec-websocket-accept",
                                                             "sec-websocket-version"};

}  // namespace

Parsed<std::string> parse_edited_name(std::string_view name, EditOf message, EditKind kind) {
  if (name.starts_with(':')) {
    return std::unexpected(
        Problem{in_quotes(name) + " is a pseudo-header of HTTP/2, no field",
                "\"Host\" for the authority, [routes.rule.rewrite] for the path, [routes.rule.redirect] for the rest"});
  }
  if (!is_token(name)) {
    return std::unexpected(Problem{in_quotes(name) + " is not a header name", "an HTTP token (RFC 9110)"});
  }
  const std::string lower = lower_case(name);
  if (std::ranges::find(kOfTheConnection, lower) != kOfTheConnection.end()) {
    return std::unexpected(Problem{
        fmt::format("{} cannot be edited: it belongs to one connection or says where a message ends", in_quotes(name)),
        "a field that concerns both ends (RFC 9110 section 7.6.1)"});
  }
  if (std::ranges::find(kOfTheHandshake, lower) != kOfTheHandshake.end()) {
    return std::unexpected(Problem{fmt::format("{} cannot be edited: a WebSocket opens by it", in_quotes(name)),
                                   "a field that is not part of the opening handshake (RFC 6455 section 4)"});
  }
  if (lower == "host" && message == EditOf::request && kind != EditKind::set) {
    return std::unexpected(
        Problem{"every request has exactly one \"Host\"; it can only be set", "request_headers_set"});
  }
  return std::string(name);
}

Parsed<FieldEdit> parse_field_edit(std::string_view name, std::string_view value, EditOf message, EditKind kind,
                                   TemplateScope scope) {
  auto checked = parse_edited_name(name, message, kind);
  if (!checked) return std::unexpected(std::move(checked.error()));
  if (value.empty()) {
    return std::unexpected(Problem{"the value is empty", "a value; fields are removed by the keys *_headers_remove"});
  }
  const auto space = [](char c) { return c == ' ' || c == '\t'; };
  const bool control = std::ranges::any_of(
      value, [](char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == '\x7f'; });
  if (control || space(value.front()) || space(value.back())) {
    return std::unexpected(Problem{"no header can have this value: it contains a control character or space around it",
                                   "the value without surrounding space"});
  }
  auto parsed = parse_template(value, scope);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  return FieldEdit{*std::move(checked), *std::move(parsed)};
}

}  // namespace dao::config
