#include "dao/config/redact.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "dao/config/document.h"
#include "dao/config/load.h"
#include "dao/config/names.h"
#include "dao/config/prescan.h"
#include "dao/config/schema.h"
#include "dao/config/sources.h"

namespace dao::config {
namespace {

constexpr bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

// A piece of a text that is replaced.
struct Piece {
  std::size_t from;
  std::size_t to;
};

std::string quoted_mark() {
  return '"' + std::string(kRedacted) + '"';
}

std::string replace(std::string_view text, std::vector<Piece> pieces, std::string_view with) {
  std::ranges::sort(pieces, {}, &Piece::from);
  std::string out;
  std::size_t at = 0;
  for (const Piece& piece : pieces) {
    if (piece.from < at) continue;
    out += text.substr(at, piece.from - at);
    out += with;
    at = piece.to;
  }
  return out += text.substr(at);
}

// Where the secret strings of a document stand.
void find_secrets(const Node& node, Secrecy secrecy, bool secret, const Table* spec, std::vector<Position>& found);

void find_in_table(const Node& node, const Table* spec, std::vector<Position>& found) {
  for (const Member& member : node.members) {
    if (spec == nullptr) {
      find_secrets(member.value, Secrecy::by_name, is_secret_name(member.name), nullptr, found);
      continue;
    }
    const auto key = std::ranges::find(spec->keys, member.name, &Key::name);
    const auto table = std::ranges::find(spec->tables, member.name, &Table::name);
    if (key != spec->keys.end()) {
      find_secrets(member.value, key->secrecy, key->secrecy == Secrecy::all, nullptr, found);
    } else if (table == spec->tables.end()) {
      find_secrets(member.value, Secrecy::by_name, is_secret_name(member.name), nullptr, found);
    } else if (table->enter_named != nullptr) {
      for (const Member& named : member.value.members) find_secrets(named.value, Secrecy::none, false, &*table, found);
    } else {
      find_secrets(member.value, Secrecy::none, false, &*table, found);
    }
  }
}

void find_secrets(const Node& node, Secrecy secrecy, bool secret, const Table* spec, std::vector<Position>& found) {
  if (node.kind == Node::Kind::text && secret) found.push_back(node.where);
  for (const Node& item : node.items) find_secrets(item, secrecy, secret, spec, found);
  if (spec != nullptr) return find_in_table(node, spec, found);
  for (const Member& member : node.members) {
    const bool by_name = secrecy == Secrecy::by_name && is_secret_name(member.name);
    find_secrets(member.value, secrecy, secret || by_name, nullptr, found);
  }
}

// The offsets of positions, which are sorted.
std::vector<std::size_t> offsets_of(std::string_view text, const std::vector<Position>& positions) {
  std::vector<std::size_t> offsets;
  std::size_t line = 1;
  std::size_t start = 0;
  for (const Position& position : positions) {
    while (line < position.line && start < text.size()) {
      start = std::min(text.find('\n', start), text.size() - 1) + 1;
      ++line;
    }
    std::size_t at = start;
    for (std::uint32_t column = 1; column < position.column && at < text.size(); ++column) {
      ++at;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U) ++at;
    }
    offsets.push_back(at);
  }
  return offsets;
}

// Names and values as TOML and its relatives write them, in a text that may be anything. Finds the values of names that
// sound secret, and the comments.
class Scan {
 public:
  Scan(std::string_view text, bool is_comment) : text_(text), is_comment_(is_comment) {}

  std::vector<Piece> values;    // what stands behind '=' or ':' of a secret name
  std::vector<Piece> comments;  // from '#' to the end of the line

  void run() {
    while (at_ < text_.size()) step();
  }

 private:
  void step() {
    const char c = text_[at_];
    if (c == '"' || c == '\'') {
      const std::size_t end = end_of_string(text_, at_);
      if (secret_) values.push_back({at_, end});
      word_ = text_.substr(at_ + 1, end - at_ >= 2 ? end - at_ - 2 : 0);
      at_ = end;
    } else if (c == '#' && !is_comment_) {
      const std::size_t end = std::min(text_.find('\n', at_), text_.size());
      comments.push_back({at_, end});
      at_ = end;
    } else if (c == '=' || c == ':') {
      secret_ = is_secret_name(word_);
      word_ = {};
      ++at_;
    } else if (c == '\n' || c == '}' || (c == ',' && open_lists_ == 0)) {
      secret_ = secret_ && open_lists_ > 0;
      word_ = {};
      ++at_;
    } else if (c == '[' || c == ']') {
      if (c == '[') ++open_lists_;
      if (c == ']' && open_lists_ > 0) --open_lists_;
      ++at_;
    } else if (is_alnum(c) || c == '-' || c == '_') {
      const std::size_t start = at_;
      while (at_ < text_.size() && (is_alnum(text_[at_]) || text_[at_] == '-' || text_[at_] == '_')) ++at_;
      word_ = text_.substr(start, at_ - start);
      if (secret_) values.push_back({start, at_});
    } else {
      ++at_;
    }
  }

  std::string_view text_;
  bool is_comment_;
  std::size_t at_ = 0;
  std::string_view word_;  // the last name or string
  bool secret_ = false;    // what comes now is the value of a secret name
  std::size_t open_lists_ = 0;
};

// What a comment says behind the first secret name with '=' or ':'; a value without quotes may go on to the end.
std::optional<Piece> secret_in_comment(std::string_view text, const Piece& comment) {
  Scan scan(text.substr(comment.from + 1, comment.to - comment.from - 1), true);
  scan.run();
  if (scan.values.empty()) return std::nullopt;
  std::size_t to = comment.to;
  while (to > comment.from && is_space(text[to - 1])) --to;
  return Piece{comment.from + 1 + scan.values.front().from, to};
}

std::string redact_file(std::string_view text) {
  std::vector<Piece> pieces;
  Scan scan(text, false);
  scan.run();
  if (const auto root = parse_document(text, kMaxDepth)) {
    std::vector<Position> secrets;
    find_in_table(*root, &schema(), secrets);
    std::ranges::sort(secrets);
    for (const std::size_t offset : offsets_of(text, secrets)) {
      if (offset < text.size()) pieces.push_back({offset, end_of_string(text, offset)});
    }
  } else {
    pieces = scan.values;
  }
  for (const Piece& comment : scan.comments) {
    if (const auto piece = secret_in_comment(text, comment)) pieces.push_back(*piece);
  }
  return redact_user_information(replace(text, std::move(pieces), quoted_mark()));
}

}  // namespace

bool is_secret_name(std::string_view name) {
  // Words, between '-', '_', '.' and blanks, and where a capital follows a small letter; and the name in one.
  std::vector<std::string> words(1);
  std::string joined;
  bool small = false;
  for (const char c : name) {
    if (!is_alnum(c)) {
      if (!words.back().empty()) words.emplace_back();
      small = false;
      continue;
    }
    const bool capital = c >= 'A' && c <= 'Z';
    if (capital && small) words.emplace_back();
    small = !capital;
    const std::string letter = lower_case(std::string_view(&c, 1));
    words.back() += letter;
    joined += letter;
  }
  if (!words.empty() && words.back().empty()) words.pop_back();
  if (words.empty() || words.back() == "file" || words.back() == "path") return false;
  constexpr std::array<std::string_view, 9> kParts = {"token",      "secret",        "password", "passwd", "passphrase",
                                                      "credential", "authorization", "apikey",   "cookie"};
  constexpr std::array<std::string_view, 5> kWords = {"key", "keys", "auth", "pwd", "signature"};
  return std::ranges::any_of(kParts, [&](std::string_view part) { return joined.find(part) != std::string::npos; }) ||
         std::ranges::any_of(kWords,
                             [&](std::string_view word) { return std::ranges::find(words, word) != words.end(); });
}

std::string redact_user_information(std::string_view text) {
  constexpr std::string_view kEnds = "/?#\\ \t\r\n\"'<>";
  std::string out;
  std::size_t at = 0;
  while (true) {
    const std::size_t slashes = text.find("://", at);
    if (slashes == std::string_view::npos) break;
    const std::size_t start = slashes + 3;
    const std::string_view authority =
        text.substr(start, std::min(text.find_first_of(kEnds, start), text.size()) - start);
    const std::size_t user_end = authority.rfind('@');
    out += text.substr(at, start - at);
    at = start;
    if (user_end == std::string_view::npos) continue;
    out += kRedacted;
    at += user_end;
  }
  return out += text.substr(at);
}

std::string redact_text(std::string_view text) {
  const auto parts = unbundle(text);
  if (!parts || !*parts) return redact_file(text);
  Sources shown = **parts;
  for (SourceFile& file : shown.files) file.text = redact_file(file.text);
  // A bundle stays one, even of a single file.
  if (shown.files.size() == 1) shown.patterns.emplace_back();
  return bundle(shown);
}

}  // namespace dao::config
