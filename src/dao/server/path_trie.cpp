#include "dao/server/path_trie.h"

#include <algorithm>
#include <tuple>

namespace dao::server {

namespace {

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

// Patterns of one node and all below it, which have `depth` characters in common with what is above.
struct PathTrie::Range {
  std::uint32_t node = 0;
  std::size_t from = 0;
  std::size_t to = 0;
  std::size_t depth = 0;
};

// The patterns of one path and kind. Behind one without condition nobody gets anything.
std::uint32_t PathTrie::add_list(const std::vector<Pattern>& patterns, std::size_t from, std::size_t to) {
  if (from == to) return kNone;
  const auto start = static_cast<std::uint32_t>(entries_.size());
  for (std::size_t i = from; i < to; ++i) {
    entries_.push_back({.rule = patterns[i].rule, .condition = patterns[i].condition});
    if (patterns[i].condition == kNone) break;
  }
  entries_.push_back({});
  return start;
}

std::uint32_t PathTrie::plant(std::vector<Pattern> patterns) {
  std::ranges::sort(patterns, [](const Pattern& a, const Pattern& b) {
    return std::tie(a.path, a.exact, a.rule) < std::tie(b.path, b.exact, b.rule);
  });
  const auto root = static_cast<std::uint32_t>(nodes_.size());
  nodes_.emplace_back();
  first_bytes_ += '\0';
  std::vector<Range> open;  // not made yet
  if (!patterns.empty()) open.push_back({.node = root, .from = 0, .to = patterns.size(), .depth = 0});
  while (!open.empty()) {
    const Range range = open.back();
    open.pop_back();
    const std::string_view first = patterns[range.from].path;
    const std::size_t shared = common_prefix(first, patterns[range.to - 1].path);
    Node made;
    made.text = static_cast<std::uint32_t>(text_.size());
    made.size = static_cast<std::uint32_t>(shared - range.depth);
    text_ += first.substr(range.depth, made.size);
    for (std::size_t i = range.from; i < range.to; ++i) made.least = std::min(made.least, patterns[i].rule);

    const auto ends_here = [shared](const Pattern& pattern) { return pattern.path.size() == shared; };
    const auto begin = patterns.begin() + static_cast<std::ptrdiff_t>(range.from);
    const auto end = patterns.begin() + static_cast<std::ptrdiff_t>(range.to);
    const auto longer = std::partition_point(begin, end, ends_here);
    const auto exact = std::partition_point(begin, longer, [](const Pattern& pattern) { return !pattern.exact; });
    const auto index = [&patterns](auto at) { return static_cast<std::size_t>(at - patterns.begin()); };
    made.prefixes = add_list(patterns, range.from, index(exact));
    made.exacts = add_list(patterns, index(exact), index(longer));

    made.first_child = static_cast<std::uint32_t>(nodes_.size());
    for (auto child = longer; child != end;) {
      const char byte = child->path[shared];
      const auto next = std::partition_point(
          child, end, [byte, shared](const Pattern& pattern) { return pattern.path[shared] == byte; });
      open.push_back(
          {.node = made.first_child + made.children, .from = index(child), .to = index(next), .depth = shared});
      ++made.children;
      nodes_.emplace_back();
      first_bytes_ += byte;
      child = next;
    }
    nodes_[range.node] = made;
  }
  return root;
}

}  // namespace dao::server
