#include "dao/config/merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <tuple>

namespace dao::config {
namespace {

class Merge {
 public:
  Merge(std::span<const std::string> files, Findings& findings) : files_(files), findings_(findings) {}

  // `spec` is null for what the schema does not know, and for tables with names of the operator's choice.
  Node tables(const Table* spec, std::vector<Node> parts, const std::string& path) {
    Node merged;
    merged.where = parts.front().where;
    std::vector<Member> all;
    for (Node& part : parts) std::ranges::move(part.members, std::back_inserter(all));
    // Of equal names, the one of the first document comes first.
    std::ranges::sort(all, {}, [](const Member& member) { return std::tie(member.name, member.where); });
    for (std::size_t i = 0; i < all.size();) {
      std::size_t end = i + 1;
      while (end < all.size() && all[end].name == all[i].name) ++end;
      merged.members.push_back(one(spec, std::span(all).subspan(i, end - i), path));
      i = end;
    }
    return merged;
  }

 private:
  Member one(const Table* spec, std::span<Member> same, const std::string& path) {
    if (same.size() == 1) return std::move(same.front());
    const Table* inner = nullptr;
    if (spec != nullptr) {
      const auto found = std::ranges::find(spec->tables, same.front().name, &Table::name);
      if (found != spec->tables.end()) inner = &*found;
    }
    const std::string inner_path = join_key(path, same.front().name);
    const auto all_are = [&](Node::Kind kind) {
      return std::ranges::all_of(same, [kind](const Member& member) { return member.value.kind == kind; });
    };
    if (inner != nullptr && inner->repeated && all_are(Node::Kind::list)) {
      Member& first = same.front();
      for (Member& more : same.subspan(1)) std::ranges::move(more.value.items, std::back_inserter(first.value.items));
      return std::move(first);
    }
    if (inner != nullptr && !inner->repeated && all_are(Node::Kind::table)) {
      std::vector<Node> parts;
      for (Member& member : same) parts.push_back(std::move(member.value));
      return {same.front().name, same.front().where,
              tables(inner->enter_named != nullptr ? nullptr : inner, std::move(parts), inner_path)};
    }
    for (const Member& again : same.subspan(1)) {
      findings_.error(
          again.where, inner_path,
          {.message = fmt::format("{} is there already: {}:{}:{}", in_quotes(again.name),
                                  files_[same.front().where.file], same.front().where.line, same.front().where.column),
           .expected = "each key in one file"});
    }
    return std::move(same.front());
  }

  std::span<const std::string> files_;
  Findings& findings_;
};

}  // namespace

Node merge_documents(const Table& schema, std::vector<Node> documents, std::span<const std::string> files,
                     Findings& findings) {
  return Merge(files, findings).tables(&schema, std::move(documents), "");
}

}  // namespace dao::config
