// Which rule a request belongs to: the first one whose conditions all hold. Immutable, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::server {

class RouteTable {
 public:
  // The rules outlive the table.
  explicit RouteTable(const std::vector<config::Rule>& rules) : rules_(rules) {}

  // The rule's number. The host is compared without port and without regard to case, the path without the query, byte
  // for byte as it was sent: nothing is decoded or normalised. O(rules).
  [[nodiscard]] std::optional<std::uint32_t> find(const http::RequestHead& request) const;

 private:
  const std::vector<config::Rule>& rules_;
};

}  // namespace dao::server
