// Sends the client to another URL. Immutable, any thread.
#pragma once

#include <optional>
#include <string_view>

#include "dao/config/filters.h"
#include "dao/flow/facts.h"
#include "dao/http/head.h"

namespace dao::flow {

class Redirect {
 public:
  // `redirect` outlives it.
  explicit Redirect(const config::Redirect& redirect) : redirect_(redirect) {}

  // Location, in `arena`; nothing if the request is there already, or has no host to make a URL of.
  [[nodiscard]] std::optional<std::string_view> location(Facts& facts, http::Arena& arena) const;
  [[nodiscard]] std::uint16_t status() const { return redirect_.status; }

 private:
  const config::Redirect& redirect_;
};

}  // namespace dao::flow
