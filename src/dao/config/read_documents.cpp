#include "dao/config/read_documents.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <set>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "dao/config/include.h"
#include "dao/config/load.h"
#include "dao/config/merge.h"
#include "dao/config/schema.h"

namespace dao::config {
namespace {

// Reads what `include` names, behind the including file.
class Including {
 public:
  Including(Sources& sources, const std::filesystem::path& directory, Findings& findings)
      : sources_(sources), directory_(directory), findings_(findings) {
    see(sources.files.front().name);
    total_ = sources.files.front().text.size();
  }

  // Values of the wrong type are left to the schema.
  void include(const Node& value) {
    if (value.kind == Node::Kind::text) one(value, "include");
    for (std::size_t i = 0; i < value.items.size(); ++i) {
      if (value.items[i].kind == Node::Kind::text) one(value.items[i], fmt::format("include[{}]", i));
    }
  }

 private:
  void one(const Node& value, const std::string& key) {
    const Parsed<std::string> text = parse_include(value.text);
    Parsed<Included> included = text ? find_included(directory_, *text) : std::unexpected(text.error());
    if (!included) return findings_.error(value.where, key, std::move(included.error()));
    if (!included->pattern.empty()) sources_.patterns.push_back(std::move(included->pattern));
    for (std::string& path : included->files) {
      if (!add(path, value.where, key)) return;
    }
  }

  // A file that two patterns name is included once. False: no more.
  bool add(const std::string& path, Position where, const std::string& key) {
    if (!see(path)) return true;
    sources_.paths.push_back(path);
    auto text = read_text_file(path);
    if (!text) {
      findings_.error(where, key, {.message = fmt::format("{}: {}", path, text.error())});
      return true;
    }
    total_ += text->size();
    if (text->size() > kMaxFileBytes) {
      findings_.error(where, key,
                      {.message = fmt::format("{}: the file is too large", path),
                       .expected = fmt::format("at most {} bytes", kMaxFileBytes)});
      return false;
    }
    if (total_ > kMaxTotalBytes || sources_.files.size() == kMaxFiles) {
      findings_.error(where, key,
                      {.message = "the included files are too many, or too large",
                       .expected = fmt::format("at most {} files and {} bytes in all", kMaxFiles, kMaxTotalBytes)});
      return false;
    }
    sources_.files.push_back({path, std::move(*text)});
    return true;
  }

  // False: it is there already.
  bool see(const std::string& path) {
    struct stat status{};
    return stat(path.c_str(), &status) != 0 ? names_.insert(path).second
                                            : seen_.emplace(status.st_dev, status.st_ino).second;
  }

  Sources& sources_;
  const std::filesystem::path& directory_;
  Findings& findings_;
  std::set<std::pair<dev_t, ino_t>> seen_;
  std::unordered_set<std::string> names_;  // of files that are not there
  std::size_t total_ = 0;
};

}  // namespace

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::vector<std::string> names_of(const Sources& sources) {
  std::vector<std::string> names;
  for (const SourceFile& file : sources.files) names.push_back(file.name);
  return names;
}

Node read_documents(Sources& sources, const std::optional<std::filesystem::path>& directory, bool bundled,
                    Findings& findings) {
  const auto parse = [&](std::size_t number, std::string_view text) {
    const auto file = static_cast<std::uint16_t>(number);
    auto parsed = is_blank(text) ? Node{} : parse_document(text, kMaxDepth, file);
    if (parsed) return std::move(*parsed);
    findings.error(parsed.error().where, {}, {.message = parsed.error().message});
    return Node{};
  };
  std::vector<Node> documents;
  documents.push_back(parse(0, sources.files.front().text));
  const Member* include = documents.front().find("include");
  if (include != nullptr && !bundled) {
    if (directory) {
      Including(sources, *directory, findings).include(include->value);
    } else if (!include->value.items.empty() || !include->value.text.empty()) {
      findings.error(include->where, "include",
                     {.message = "nothing can be included: this text is no file in a directory",
                      .expected = "all of the configuration in one text"});
    }
  }
  for (std::size_t i = 1; i < sources.files.size(); ++i) {
    documents.push_back(parse(i, sources.files[i].text));
    const Member* nested = documents.back().find("include");
    if (nested == nullptr) continue;
    findings.error(nested->where, "include",
                   {.message = "an included file cannot include others",
                    .expected = fmt::format("\"include\" in {}", sources.files.front().name)});
  }
  if (documents.size() == 1 || findings.failed()) return std::move(documents.front());
  return merge_documents(schema(), std::move(documents), names_of(sources), findings);
}

}  // namespace dao::config
