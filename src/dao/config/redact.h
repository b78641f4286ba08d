// What must not be shown to everybody who may read a configuration. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

namespace dao::config {

// Stands where a secret was. As a value in a configuration it is an error.
inline constexpr std::string_view kRedacted = "(redacted)";

// The name of a header, cookie or key whose value is a secret: Authorization, Cookie, X-Api-Key, anything with "token",
// "secret", "password" or "key" as a word, and the like; but not the name of a file that holds one. Case, '-' and '_'
// do not count.
[[nodiscard]] bool is_secret_name(std::string_view name);

// Without the user information of URLs: "http://(redacted)@host/".
[[nodiscard]] std::string redact_user_information(std::string_view text);

// The text of a configuration, or a bundle (sources.h), with all secrets replaced and the rest as it was: values of
// keys that the schema calls secret, of headers and cookies with such names, user information, and what looks like any
// of these in comments. Text that is not TOML is searched by names alone, so that more is replaced rather than less.
[[nodiscard]] std::string redact_text(std::string_view text);

}  // namespace dao::config
