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

}  // namespace dao::config
