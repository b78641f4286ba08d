// Rules by the path that they are for, exact or as a prefix: one tree of characters for each group of rules, all in
// the same arrays. Filled once, then read by any thread.
//
// A search goes down one branch, at most as deep as the path has characters, and turns back where no rule below can
// come before what was found already. Paths are compared byte for byte; nothing is hashed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace dao::server {

class PathTrie {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  struct Pattern {
    std::string_view path;            // as a prefix, the empty one is of every path
    bool exact = false;               // the whole path
    std::uint32_t rule = 0;           // the smaller goes before
    std::uint32_t condition = kNone;  // what else must hold, by a number of the caller's; kNone: nothing
  };

  // The root of a new tree, to be given to first(). The patterns are copied; those that no search can come to are left
  // out.
  std::uint32_t plant(std::vector<Pattern> patterns);

  // The smallest rule below `before` whose pattern the path has and whose condition `holds`; `before` if there is none.
  // No allocation.
  template <class Holds>
  [[nodiscard]] std::uint32_t first(std::uint32_t root, std::string_view path, std::uint32_t before,
                                    const Holds& holds) const {
    std::uint32_t best = before;
    const auto look = [&](std::uint32_t at) {
      for (; entries_[at].rule < best; ++at) {
        const Entry& entry = entries_[at];
        if (entry.condition == kNone || holds(entry.condition)) {
          best = entry.rule;
          return;
        }
      }
    };
    const Node* node = &nodes_[root];
    while (node->least < best) {
      if (!path.starts_with(std::string_view(text_.data() + node->text, node->size))) break;
      path.remove_prefix(node->size);
      if (node->prefixes != kNone) look(node->prefixes);
      if (path.empty()) {
        if (node->exacts != kNone) look(node->exacts);
        break;
      }
      if (node->children == 0) break;
      const char* bytes = first_bytes_.data() + node->first_child;
      const void* found = std::memchr(bytes, path.front(), node->children);
      if (found == nullptr) break;
      node = &nodes_[node->first_child + static_cast<std::size_t>(static_cast<const char*>(found) - bytes)];
    }
    return best;
  }

 private:
  struct Node {
    std::uint32_t text = 0;         // what the path goes on with, in text_
    std::uint32_t size = 0;         // bytes of that
    std::uint32_t first_child = 0;  // they stand side by side
    std::uint32_t children = 0;
    std::uint32_t least = kNone;     // the smallest rule here or below
    std::uint32_t prefixes = kNone;  // in entries_: rules for all paths that go on from here
    std::uint32_t exacts = kNone;    // rules for the path that ends here
  };
  // In order of rules; a list ends with the rule kNone.
  struct Entry {
    std::uint32_t rule = kNone;
    std::uint32_t condition = kNone;
  };
  struct Range;
  std::uint32_t add_list(const std::vector<Pattern>& patterns, std::size_t from, std::size_t to);

  std::vector<Node> nodes_;
  std::string first_bytes_;  // of each node's text, as long as nodes_
  std::vector<Entry> entries_;
  std::string text_;
};

}  // namespace dao::server
