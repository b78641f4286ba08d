// Which rule a request belongs to: the first one whose conditions all hold. Immutable, any thread; it keeps a copy of
// what it needs, so the rules it was made of need not outlive it, and it can be moved.
//
// Rules stand below the host they are for, and there below their path: a lookup finds the host's own rules, those of
// the wildcards above it and those for every host (host_map.h), goes down one branch of each (path_trie.h), and takes
// the first rule of what it finds. Only rules with the same host and path that also ask for headers or an upgrade are
// looked at one by one. So a request costs about the same among ten rules and ten thousand, and never more than its own
// length and the number of different lengths of wildcards explain, whatever it is made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/http/head.h"
#include "dao/server/host_map.h"
#include "dao/server/path_trie.h"

namespace dao::server {

class RouteTable {
 public:
  // At most 2^32 - 1 rules.
  explicit RouteTable(const std::vector<config::Rule>& rules);

  // The rule's place among the rules. The host is compared without port and without regard to case, the path without
  // the query, byte for byte as it was sent: nothing is decoded or normalised. No allocation.
  [[nodiscard]] std::optional<std::uint32_t> find(const http::RequestHead& request) const;

 private:
  // Beside host and path.
  struct Condition {
    std::vector<config::HeaderMatch> headers;
    config::Upgrade upgrade = config::Upgrade::any;
  };
  [[nodiscard]] static bool holds(const Condition& condition, const http::RequestHead& request);

  PathTrie paths_;
  HostMap hosts_;
  std::vector<std::uint32_t> roots_of_hosts_;  // by the host's number
  HostMap wildcards_;                          // ".example.org"
  std::vector<std::uint32_t> roots_of_wildcards_;
  std::vector<std::size_t> wildcard_sizes_;  // all different
  std::uint32_t root_of_any_host_ = 0;
  std::vector<Condition> conditions_;
};

}  // namespace dao::server
