#include "dao/config/locate.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "dao/config/document.h"
#include "dao/config/prescan.h"
#include "dao/config/read_documents.h"

namespace dao::config {
namespace {

// Takes the next part of a path: a name, or "[3]".
std::string_view take_part(std::string_view& path) {
  if (path.starts_with('.')) path.remove_prefix(1);
  std::size_t end = 0;
  if (path.starts_with('"')) {
    end = end_of_string(path, 0);
  } else if (path.starts_with('[')) {
    end = std::min(path.find(']'), path.size() - 1) + 1;
  } else {
    end = std::min(path.find_first_of(".["), path.size());
  }
  const std::string_view part = path.substr(0, end);
  path.remove_prefix(end);
  return part;
}

std::optional<std::size_t> index_of(std::string_view part) {
  if (!part.starts_with('[')) return std::nullopt;
  std::size_t index = 0;
  const auto [rest, error] = std::from_chars(part.data() + 1, part.data() + part.size(), index);
  return error == std::errc() ? std::optional(index) : std::nullopt;
}

Position find(const Node& root, std::string_view path) {
  const Node* node = &root;
  Position found = root.where;
  while (!path.empty()) {
    std::string_view part = take_part(path);
    if (const auto index = index_of(part)) {
      if (*index >= node->items.size()) break;
      node = &node->items[*index];
    } else {
      if (part.starts_with('"') && part.size() >= 2) part = part.substr(1, part.size() - 2);
      const Member* member = node->find(part);
      if (member == nullptr) break;
      node = &member->value;
    }
    found = node->where;
  }
  return found;
}

}  // namespace

void locate(Diagnostics& diagnostics, const Sources& sources) {
  if (sources.files.empty() || diagnostics.empty()) return;
  Findings findings;
  Sources texts = sources;
  const Node root = read_documents(texts, std::nullopt, true, findings);
  std::unordered_map<std::string_view, std::uint16_t> files;
  for (const SourceFile& file : sources.files) files.emplace(file.name, static_cast<std::uint16_t>(files.size()));
  std::vector<std::pair<Position, Diagnostic>> placed;
  for (Diagnostic& diagnostic : diagnostics) {
    Position where{.line = diagnostic.line, .column = diagnostic.column};
    if (const auto known = files.find(diagnostic.file); known != files.end()) {
      where.file = known->second;
    } else {
      where = find(root, diagnostic.key);
      diagnostic.file = sources.files[where.file].name;
      diagnostic.line = where.line;
      diagnostic.column = where.column;
    }
    placed.emplace_back(where, std::move(diagnostic));
  }
  std::ranges::sort(placed, {}, [](const auto& one) {
    return std::tuple(one.first.line == 0 && one.second.key.empty(), one.first, std::string_view(one.second.key),
                      std::string_view(one.second.message));
  });
  for (std::size_t i = 0; i < placed.size(); ++i) diagnostics[i] = std::move(placed[i].second);
  add_source_lines(diagnostics, sources);
}

}  // namespace dao::config
