// A response that DAO gives itself, always the same. Immutable, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dao/config/filters.h"
#include "dao/flow/facts.h"
#include "dao/http/head.h"

namespace dao::flow {

class FixedResponse {
 public:
  // `respond` outlives it.
  explicit FixedResponse(const config::Respond& respond) : respond_(respond) {}

  [[nodiscard]] std::uint16_t status() const { return respond_.status; }
  [[nodiscard]] std::string_view body(Facts& facts, http::Arena& arena) const {
    return render(respond_.body, facts, arena);
  }
  void add_fields(http::ResponseHead& response, Facts& facts) const {
    for (const config::FieldEdit& field : respond_.headers) {
      const std::string_view value = render(field.value, facts, response.arena);
      if (!value.empty()) response.add(field.name, value, http::identify_field(field.name));
    }
  }

 private:
  const config::Respond& respond_;
};

}  // namespace dao::flow
