#include "dao/config/nearest.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace dao::config {
namespace {

constexpr std::size_t kLongest = 64;  // longer names are typos of nothing we know

// Optimal string alignment (Damerau-Levenshtein with neighbours only), three rolling rows.
unsigned edit_distance(std::string_view a, std::string_view b) {
  using Row = std::array<unsigned, kLongest + 1>;
  Row before{};
  Row previous{};
  Row current{};
  for (std::size_t j = 0; j <= b.size(); ++j) previous[j] = static_cast<unsigned>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = static_cast<unsigned>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    before = previous;
    previous = current;
  }
  return previous[b.size()];
}

bool has_word(std::string_view name, std::string_view word) {
  for (std::size_t at = name.find(word); at != std::string_view::npos; at = name.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || name[at - 1] == '_') && (end == name.size() || name[end] == '_')) return true;
  }
  return false;
}

struct OtherName {
  std::string_view theirs;
  std::string_view ours;
};
// Of nginx, HAProxy, Envoy, Traefik and Caddy.
constexpr auto kOtherNames = std::to_array<OtherName>({
    {"listen", "bind"},
    {"port", "bind"},
    {"address", "bind"},
    {"proxy_pass", "url"},
    {"server", "url"},
    {"address", "url"},
    {"target", "url"},
    {"servers", "upstreams"},
    {"backend", "upstreams"},
    {"backends", "upstreams"},
    {"cluster", "upstreams"},
    {"service", "upstreams"},
    {"location", "match"},
    {"path", "match"},
    {"lb_policy", "policy"},
    {"balance", "policy"},
    {"ssl_certificate", "tls_cert"},
    {"ssl_certificate_key", "tls_key"},
    {"worker_processes", "workers"},
    {"nbthread", "workers"},
    {"threads", "workers"},
    {"worker_connections", "max_connections"},
    {"maxconn", "max_connections"},
    {"client_max_body_size", "body_max_bytes"},
});

}  // namespace

std::string spelling_key(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '-' || c == '_') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

std::optional<unsigned> likeness(std::string_view given, std::string_view known) {
  if (given.size() > kLongest || known.size() > kLongest) return std::nullopt;
  const std::string a = spelling_key(given);
  const std::string b = spelling_key(known);
  if (a.empty() || b.empty()) return std::nullopt;
  if (a == b) return 0;
  if (a.size() >= 4 && b.starts_with(a)) return 1;
  const unsigned distance = edit_distance(a, b);
  const auto limit = static_cast<unsigned>(std::max(a.size(), b.size()) / 3);
  return distance <= limit ? std::optional(distance) : std::nullopt;
}

std::optional<std::string_view> nearest(std::string_view given, std::span<const std::string_view> known) {
  std::optional<std::string_view> best;
  unsigned best_distance = 0;
  for (const std::string_view name : known) {
    const auto distance = likeness(given, name);
    if (distance && (!best || *distance < best_distance)) {
      best = name;
      best_distance = *distance;
    }
  }
  return best;
}

std::optional<std::string_view> by_another_name(std::string_view given, std::span<const std::string_view> known) {
  std::optional<std::string_view> found;
  for (const std::string_view name : known) {
    if (given.empty() || !has_word(name, given)) continue;
    if (found) {
      found.reset();
      break;
    }
    found = name;
  }
  if (found) return found;
  for (const OtherName& other : kOtherNames) {
    if (other.theirs == given && std::ranges::find(known, other.ours) != known.end()) return other.ours;
  }
  return std::nullopt;
}

}  // namespace dao::config
