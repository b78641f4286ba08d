#include "dao/config/reachability.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dao/config/places.h"

namespace dao::config {
namespace {

bool covers_host(const HostPattern& earlier, const HostPattern& later) {
  if (!earlier.wildcard) return !later.wildcard && earlier.text == later.text;
  return later.text.ends_with(earlier.text) && (later.wildcard || later.text.size() > earlier.text.size());
}

bool covers_hosts(const Match& earlier, const Match& later) {
  if (earlier.hosts.empty()) return true;
  return !later.hosts.empty() && std::ranges::all_of(later.hosts, [&](const HostPattern& host) {
    return std::ranges::any_of(earlier.hosts, [&](const HostPattern& pattern) { return covers_host(pattern, host); });
  });
}

bool covers_path(const Match& earlier, const Match& later) {
  if (earlier.path_exact) return later.path_exact == earlier.path_exact;
  if (!earlier.path_prefix) return true;
  const auto& path = later.path_exact ? later.path_exact : later.path_prefix;
  return path && path->starts_with(*earlier.path_prefix);
}

bool covers_headers(const Match& earlier, const Match& later) {
  return std::ranges::all_of(earlier.headers, [&](const HeaderMatch& wanted) {
    return std::ranges::any_of(later.headers, [&](const HeaderMatch& header) {
      return header.name == wanted.name && header.value == wanted.value;
    });
  });
}

bool covers_upgrade(const Match& earlier, const Match& later) {
  return earlier.upgrade == Upgrade::any || earlier.upgrade == later.upgrade;
}

bool covers_but_for_hosts(const Match& earlier, const Match& later) {
  return covers_path(earlier, later) && covers_headers(earlier, later) && covers_upgrade(earlier, later);
}

std::string text_of(const HostPattern& pattern) {
  return pattern.wildcard ? "*" + pattern.text : pattern.text;
}

// "\"x-canary: 1\"", as a key of a map.
std::string key_of(const HeaderMatch& header) {
  return header.name + ':' + header.value;
}

// The rules so far, by what a rule that they cover must have: a host, the beginning of a path, a header.
class EarlierRules {
 public:
  explicit EarlierRules(const std::vector<RuleDraft>& rules) : rules_(rules) {}

  // The first rule that takes every request of `later` for this host (null: for any host). Never wrong; gives up when
  // the work is used up.
  std::optional<std::size_t> find(const Match& later, const HostPattern* host) {
    std::optional<std::size_t> first;
    look(later, "", first);
    if (host == nullptr) return first;
    const std::string_view text = host->text;
    if (!host->wildcard) look(later, text, first);
    // ".example.org" and ".org" cover "www.example.org"; ".example.org" covers itself.
    for (std::size_t dot = text.find('.'); dot != std::string_view::npos; dot = text.find('.', dot + 1)) {
      if (dot > 0 || host->wildcard) look(later, text.substr(dot), first);
    }
    return first;
  }

  // `host` as in find().
  void add(std::size_t rule, const HostPattern* host) {
    const Match& match = rules_[rule].rule.match;
    ByPath& paths = hosts_[host == nullptr ? std::string_view() : std::string_view(host->text)];
    ByHeader* headers = &paths.anywhere;
    if (match.path_exact) {
      headers = &paths.exact[*match.path_exact];
    } else if (match.path_prefix) {
      headers = &paths.prefixes[*match.path_prefix];
      paths.lengths.insert(match.path_prefix->size());
    }
    std::string key;
    for (const HeaderMatch& header : match.headers) {
      if (std::string other = key_of(header); key.empty() || other < key) key = std::move(other);
    }
    (*headers)[std::move(key)].push_back(rule);
  }

 private:
  // By the smallest of its headers; empty for none.
  using ByHeader = std::unordered_map<std::string, std::vector<std::size_t>>;
  struct ByPath {
    ByHeader anywhere;
    std::unordered_map<std::string_view, ByHeader> exact;
    std::unordered_map<std::string_view, ByHeader> prefixes;
    std::set<std::size_t> lengths;  // of the prefixes
  };

  bool work(std::size_t amount) {
    if (amount > left_) left_ = 0;
    left_ -= std::min(amount, left_);
    return left_ > 0;
  }

  void look(const Match& later, std::string_view host, std::optional<std::size_t>& first) {
    const auto found = hosts_.find(host);
    if (found == hosts_.end() || !work(1)) return;
    const ByPath& paths = found->second;
    look(later, paths.anywhere, first);
    if (later.path_exact) {
      if (const auto same = paths.exact.find(*later.path_exact); same != paths.exact.end()) {
        look(later, same->second, first);
      }
    }
    const auto& path = later.path_exact ? later.path_exact : later.path_prefix;
    if (!path) return;
    for (const std::size_t length : paths.lengths) {
      if (length > path->size() || !work(1 + length / 16)) return;
      const auto prefix = paths.prefixes.find(std::string_view(*path).substr(0, length));
      if (prefix != paths.prefixes.end()) look(later, prefix->second, first);
    }
  }

  void look(const Match& later, const ByHeader& headers, std::optional<std::size_t>& first) {
    look(later, headers, std::string(), first);
    for (const HeaderMatch& header : later.headers) look(later, headers, key_of(header), first);
  }

  void look(const Match& later, const ByHeader& headers, const std::string& key, std::optional<std::size_t>& first) {
    const auto found = headers.find(key);
    if (found == headers.end()) return;
    for (const std::size_t rule : found->second) {
      if (first && *first <= rule) return;  // they are in order
      const Match& earlier = rules_[rule].rule.match;
      if (!work(1 + earlier.headers.size() * later.headers.size())) return;
      if (!covers_but_for_hosts(earlier, later)) continue;
      first = rule;
      return;
    }
  }

  const std::vector<RuleDraft>& rules_;
  std::unordered_map<std::string_view, ByPath> hosts_;  // "" = rules for every host
  std::size_t left_ = 20'000'000;
};

bool same_match(const Match& a, const Match& b) {
  constexpr std::size_t kMostComparisons = 10'000;  // only the wording depends on it
  return a.hosts.size() * b.hosts.size() <= kMostComparisons && covers(a, b) && covers(b, a);
}

class Reachability {
 public:
  Reachability(const Applied& applied, Findings& findings)
      : applied_(applied), findings_(findings), rules_(applied.draft.rules), earlier_(applied.draft.rules) {}

  void run() {
    for (std::size_t i = 0; i < rules_.size(); ++i) one(i);
  }

 private:
  void one(std::size_t rule) {
    const Match& match = rules_[rule].rule.match;
    if (match.hosts.empty()) {
      if (const auto taken_by = earlier_.find(match, nullptr)) return unreachable(rule, {*taken_by});
      return earlier_.add(rule, nullptr);
    }
    std::vector<std::optional<std::size_t>> taken_by;
    for (const HostPattern& host : match.hosts) taken_by.push_back(earlier_.find(match, &host));
    if (std::ranges::all_of(taken_by, [](const auto& by) { return by.has_value(); })) {
      std::set<std::size_t> rules;
      for (const auto& by : taken_by) rules.insert(*by);
      return unreachable(rule, {rules.begin(), rules.end()});
    }
    for (std::size_t i = 0; i < taken_by.size(); ++i) {
      if (taken_by[i]) {
        shadowed(rule, i, *taken_by[i]);
      } else {
        earlier_.add(rule, &match.hosts[i]);
      }
    }
  }

  // "the rule "api" on line 3"
  std::string named(std::size_t rule) const {
    return fmt::format("the rule {} on {}", in_quotes(rules_[rule].rule.name),
                       line_of(applied_, fmt::format("routes.rule[{}]", rule)));
  }

  void unreachable(std::size_t rule, const std::vector<std::size_t>& taken_by) {
    const std::string path = fmt::format("routes.rule[{}]", rule);
    std::string why;
    if (taken_by.size() > 1) {
      why = fmt::format("{}, {}{} take everything it matches", named(taken_by[0]), named(taken_by[1]),
                        taken_by.size() > 2 ? " and others" : "");
    } else if (same_match(rules_[taken_by[0]].rule.match, rules_[rule].rule.match)) {
      why = "it has the same match as " + named(taken_by[0]);
    } else {
      why = named(taken_by[0]) + " takes everything it matches";
    }
    findings_.warning(
        place(applied_.places, path), path,
        {.message = fmt::format("no request reaches the rule {}: {}", in_quotes(rules_[rule].rule.name), why),
         .expected = "the more specific rule first"});
  }

  void shadowed(std::size_t rule, std::size_t host, std::size_t taken_by) {
    std::string path = fmt::format("routes.rule[{}].match.host", rule);
    if (std::string item = fmt::format("{}[{}]", path, host); applied_.places.contains(item)) path = std::move(item);
    findings_.warning(place(applied_.places, path), path,
                      {.message = fmt::format("no request for {} reaches the rule {}: {} takes everything that it "
                                              "matches there",
                                              in_quotes(text_of(rules_[rule].rule.match.hosts[host])),
                                              in_quotes(rules_[rule].rule.name), named(taken_by)),
                       .expected = "the more specific rule first"});
  }

  const Applied& applied_;
  Findings& findings_;
  const std::vector<RuleDraft>& rules_;
  EarlierRules earlier_;
};

}  // namespace

bool covers(const Match& earlier, const Match& later) {
  return covers_hosts(earlier, later) && covers_path(earlier, later) && covers_headers(earlier, later) &&
         covers_upgrade(earlier, later);
}

void check_reachability(const Applied& applied, Findings& findings) {
  Reachability(applied, findings).run();
}

}  // namespace dao::config
