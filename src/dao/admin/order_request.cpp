#include "dao/admin/order_request.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "dao/base/json_text.h"
#include "dao/base/utf8.h"
#include "dao/http/head.h"
#include "dao/http/status.h"

namespace dao::admin {

namespace {

using nlohmann::json;
using server::ConfigOrder;
using server::TransitionOrder;

constexpr std::size_t kNameMax = 64;
constexpr Milliseconds kOverMax = std::chrono::hours(7 * 24);  // as for transition_ms

std::unexpected<Answer> bad_request(std::string_view error, std::string detail) {
  return std::unexpected(refuse(http::status::kBadRequest, error, std::move(detail)));
}

// One line of UTF-8 that a terminal may show.
bool is_line(std::string_view text) {
  constexpr unsigned char kDelete = 0x7f;
  constexpr unsigned char kC1Lead = 0xc2;
  constexpr unsigned char kC1End = 0xa0;
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    const auto first = static_cast<unsigned char>(text.front());
    if (length == 0 || first < ' ' || first == kDelete) return false;
    if (length == 2 && first == kC1Lead && static_cast<unsigned char>(text[1]) < kC1End) return false;
    text.remove_prefix(length);
  }
  return true;
}

bool is_toml(std::string_view type) {
  for (const std::string_view known : {"application/toml", "text/toml", "text/x-toml", "text/plain"}) {
    if (http::equals_ignoring_case(type, known)) return true;
  }
  return false;
}

bool is_json(std::string_view type) {
  return http::equals_ignoring_case(type, "application/json");
}

// What query and body may both say, and only one of them does.
struct Words {
  std::optional<std::string> text;
  std::optional<std::string> reason;
  std::optional<std::string> by;
  std::optional<bool> dry_run;
  std::optional<Milliseconds> over;
};

std::optional<Milliseconds> parse_over(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc{} && end == text.data() + text.size() && value >= 0 && value <= kOverMax.count();
  return good ? std::optional(Milliseconds(value)) : std::nullopt;
}

std::expected<void, Answer> read_query(const Target& target, Words& words) {
  for (const auto& [name, value] : target.query) {
    if (name == "reason") {
      words.reason = value;
    } else if (name == "by") {
      words.by = value;
    } else if (name == "dry_run") {
      const bool yes = value.empty() || value == "1" || value == "true";
      if (!yes && value != "0" && value != "false") return bad_request("bad_query", "dry_run is true or false");
      words.dry_run = yes;
    } else if (name == "over_ms") {
      words.over = parse_over(value);
      if (!words.over)
        return bad_request("bad_query", "over_ms is a number of milliseconds, a week at most; 0: at once");
    } else {
      return bad_request("bad_query", "\"reason\", \"by\", \"dry_run\" and \"over_ms\" can be said, not " + name);
    }
  }
  return {};
}

template <class T>
bool set_once(std::optional<T>& word, const json& value) {
  if (word) return false;
  word = value.get<T>();
  return true;
}

std::expected<void, Answer> read_json(std::string_view body, bool with_text, Words& words) {
  const auto bad_body = [&](std::string_view what) {
    return bad_request("bad_body", fmt::format("{}; a body has {}\"reason\" and \"by\", texts, \"dry_run\", true or "
                                               "false, and \"over_ms\", a number",
                                               what, with_text ? "\"text\", the configuration, and may have " : ""));
  };
  const json told = parse_json(body);
  if (!told.is_object()) return bad_body("the body is no JSON object");
  for (const auto& [field, value] : told.items()) {
    bool once = true;
    if (field == "text" && with_text && value.is_string()) {
      words.text = value.get<std::string>();
    } else if (field == "reason" && value.is_string()) {
      once = set_once(words.reason, value);
    } else if (field == "by" && value.is_string()) {
      once = set_once(words.by, value);
    } else if (field == "dry_run" && value.is_boolean()) {
      once = set_once(words.dry_run, value);
    } else if (field == "over_ms" && value.is_number_unsigned() && parse_over(json_text(value))) {
      once = !words.over;
      words.over = parse_over(json_text(value));
    } else {
      return bad_body("the body has something else in it");
    }
    if (!once) return bad_request("bad_body", field + " stands in the query and in the body");
  }
  return {};
}

// RFC 9110 section 13.1.1: strong comparison, and "*" is whatever there is.
std::expected<std::string, Answer> read_if_match(std::string_view field, std::string_view in_use) {
  const auto trim = [](std::string_view text) {
    while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
    while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
    return text;
  };
  field = trim(field);
  if (field.empty() || field == "*") return std::string();
  std::string first;
  while (!field.empty()) {
    const std::size_t comma = field.find(',');
    std::string_view tag = trim(field.substr(0, comma));
    field = comma == std::string_view::npos ? std::string_view{} : field.substr(comma + 1);
    if (tag.empty()) continue;
    const bool weak = tag.starts_with("W/");
    if (weak) tag.remove_prefix(2);
    if (tag.size() < 2 || !tag.starts_with('"') || !tag.ends_with('"')) {
      return bad_request("bad_if_match", "If-Match is an ETag in double quotes, as GET /v1/config has it");
    }
    const std::string_view value = tag.substr(1, tag.size() - 2);
    if (!weak && value == in_use) return std::string(value);
    // One that is in use never: a weak one matches nothing.
    if (first.empty()) first = weak ? std::string(tag) : std::string(value);
  }
  return first.empty() ? std::string("\"\"") : first;
}

// Who wants it, and why.
struct Signature {
  std::string author;
  std::string reason;
};

std::expected<Signature, Answer> read_signature(const OrderRequest& request, const Words& words) {
  const std::string reason = words.reason.value_or("");
  const std::string by = words.by.value_or("");
  if (reason.size() > kReasonMax || !is_line(reason)) {
    return bad_request("bad_reason", fmt::format("a reason is one line of at most {} bytes", kReasonMax));
  }
  if (by.size() > kNameMax || !is_line(by)) {
    return bad_request("bad_name", fmt::format("a name is one line of at most {} bytes", kNameMax));
  }
  return Signature{
      .author = by.empty() ? fmt::format("api: {}", request.peer) : fmt::format("api: {} ({})", by, request.peer),
      .reason = reason};
}

std::expected<ConfigOrder, Answer> make_order(const OrderRequest& request, const Words& words, ConfigOrder order) {
  auto signature = read_signature(request, words);
  if (!signature) return std::unexpected(std::move(signature.error()));
  auto if_match = read_if_match(request.if_match, request.etag_in_use);
  if (!if_match) return std::unexpected(std::move(if_match.error()));
  order.author = std::move(signature->author);
  order.reason = std::move(signature->reason);
  order.over = words.over;
  order.if_match = *std::move(if_match);
  order.dry_run = words.dry_run.value_or(false);
  return order;
}

std::expected<Words, Answer> words_without_text(const OrderRequest& request) {
  Words words;
  if (auto read = read_query(request.target, words); !read) return std::unexpected(std::move(read.error()));
  if (!request.body.empty()) {
    if (!is_json(request.media_type)) {
      return std::unexpected(
          refuse(http::status::kUnsupportedMediaType, "unsupported_media_type", "a body here is application/json"));
    }
    if (auto read = read_json(request.body, false, words); !read) return std::unexpected(std::move(read.error()));
  }
  return words;
}

std::expected<ConfigOrder, Answer> order_without_text(const OrderRequest& request, ConfigOrder order) {
  auto words = words_without_text(request);
  if (!words) return std::unexpected(std::move(words.error()));
  return make_order(request, *words, std::move(order));
}

}  // namespace

std::expected<ConfigOrder, Answer> apply_order(OrderRequest request) {
  Words words;
  if (auto read = read_query(request.target, words); !read) return std::unexpected(std::move(read.error()));
  if (request.body.empty()) {
    return bad_request("bad_body", "the body is to be a configuration; POST /v1/config/reload reads the file again");
  }
  if (is_json(request.media_type)) {
    if (auto read = read_json(request.body, true, words); !read) return std::unexpected(std::move(read.error()));
    if (!words.text) return bad_request("bad_body", "the body has no \"text\", the configuration");
  } else if (is_toml(request.media_type)) {
    words.text = std::move(request.body);
  } else {
    return std::unexpected(refuse(http::status::kUnsupportedMediaType, "unsupported_media_type",
                                  "a configuration is application/toml, text/plain, or \"text\" in application/json"));
  }
  std::string text = *std::move(words.text);
  return make_order(request, words, {.from = ConfigOrder::From::text, .text = std::move(text)});
}

std::expected<ConfigOrder, Answer> reload_order(OrderRequest request) {
  return order_without_text(request, {.from = ConfigOrder::From::file});
}

std::expected<ConfigOrder, Answer> rollback_order(OrderRequest request, std::uint64_t snapshot) {
  return order_without_text(request, {.from = ConfigOrder::From::snapshot, .snapshot = snapshot});
}

std::expected<TransitionOrder, Answer> transition_order(OrderRequest request, TransitionOrder::What what) {
  auto words = words_without_text(request);
  if (!words) return std::unexpected(std::move(words.error()));
  if (words->dry_run || words->over) {
    return bad_request("bad_query", "\"reason\" and \"by\" can be said of a transition that is under way");
  }
  auto signature = read_signature(request, *words);
  if (!signature) return std::unexpected(std::move(signature.error()));
  return TransitionOrder{.what = what, .author = std::move(signature->author), .reason = std::move(signature->reason)};
}

std::uint64_t parse_snapshot(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() ? number : 0;
}

}  // namespace dao::admin
