#include "dao/flow/path_rewrite.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <span>

#include "dao/flow/url_text.h"

namespace dao::flow {

namespace {

std::string_view joined(http::Arena& arena, std::span<const std::string_view> parts) {
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  char* const begin = arena.allocate(size);
  char* at = begin;
  for (const std::string_view part : parts) at += part.copy(at, part.size());
  return {begin, size};
}

// "//host/x" in a request line is a path for some and a host for others.
std::string_view with_one_slash(std::string_view path, http::Arena& arena) {
  while (path.starts_with("//")) path.remove_prefix(1);
  if (path.starts_with('/')) return path;
  return joined(arena, std::array<std::string_view, 2>{"/", path});
}

}  // namespace

PathRewrite::PathRewrite(const config::Rewrite& rewrite) : rewrite_(rewrite) {
  if (!rewrite.regex.empty()) regex_ = std::make_unique<re2::RE2>(rewrite.regex, re2::RE2::Quiet);
}

PathRewrite::~PathRewrite() = default;

void PathRewrite::apply(http::RequestHead& request, Facts& facts) const {
  if (!request.path.starts_with('/')) return;  // OPTIONS *
  const std::size_t mark = request.path.find('?');
  const std::string_view path = request.path.substr(0, mark);
  const std::string_view query = mark == std::string_view::npos ? std::string_view{} : request.path.substr(mark);
  if (regex_ != nullptr) {
    replace_matches(request, path, query, facts);
  } else {
    replace_prefix(request, path, query);
  }
}

void PathRewrite::replace_prefix(http::RequestHead& request, std::string_view path, std::string_view query) const {
  std::string_view prefix = rewrite_.match_prefix;
  if (prefix == "/") prefix = {};
  if (!path.starts_with(prefix)) return;
  const std::string_view rest = path.substr(prefix.size());
  if (!rest.empty() && rest.front() != '/') return;  // "/apis" does not begin with the segment "/api"
  const std::string_view replacement = rewrite_.replace_prefix ? std::string_view(*rewrite_.replace_prefix) : "";
  const std::string_view all = joined(request.arena, std::array{replacement, rest, query});
  const bool query_only = replacement.empty() && rest.empty();
  request.path = query_only ? joined(request.arena, std::array<std::string_view, 2>{"/", query})
                            : with_one_slash(all, request.arena);
}

void PathRewrite::replace_matches(http::RequestHead& request, std::string_view path, std::string_view query,
                                  Facts& facts) const {
  constexpr int kGroups = 10;
  std::array<re2::StringPiece, kGroups> groups;
  std::array<std::string_view, kGroups> captures;
  const int count = std::min(kGroups, regex_->NumberOfCapturingGroups() + 1);
  std::string_view done;  // what is before `from`, replaced
  std::size_t from = 0;
  bool any = false;
  for (std::size_t at = 0; at <= path.size();) {
    if (!regex_->Match({path.data(), path.size()}, at, path.size(), re2::RE2::UNANCHORED, groups.data(), count)) break;
    any = true;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      captures[i] =
          groups[i].data() == nullptr ? std::string_view{} : std::string_view{groups[i].data(), groups[i].size()};
    }
    const auto begin = static_cast<std::size_t>(captures[0].data() - path.data());
    const std::size_t end = begin + captures[0].size();
    facts.captures = {captures.data(), static_cast<std::size_t>(count)};
    const std::string_view replacement = render(rewrite_.replacement, facts, request.arena);
    done = joined(request.arena, std::array{done, path.substr(from, begin - from), replacement});
    from = end;
    // An empty match is not found again at the same place.
    at = captures[0].empty() ? end + 1 : end;
  }
  facts.captures = {};
  if (!any) return;
  const std::string_view whole = joined(request.arena, std::array{done, path.substr(from)});
  const std::string_view safe = with_one_slash(url_safe(whole, request.arena), request.arena);
  request.path = query.empty() ? safe : joined(request.arena, std::array{safe, query});
}

}  // namespace dao::flow
