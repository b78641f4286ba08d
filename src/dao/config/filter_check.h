// One rule while its filters are checked: what it says, and where.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "dao/config/apply_schema.h"
#include "dao/config/draft.h"

namespace dao::config {

class FilterCheck {
 public:
  // Borrows all of it.
  FilterCheck(const Applied& applied, Findings& findings, std::size_t rule);

  [[nodiscard]] const RuleDraft& draft() const { return draft_; }
  [[nodiscard]] const Config& config() const { return applied_.draft.config; }
  // `key`: within the rule, such as "sticky.secret".
  [[nodiscard]] bool given(std::string_view key) const;
  void error(std::string_view key, std::string message, std::string expected);
  void warning(std::string_view key, std::string message, std::string expected);

 private:
  [[nodiscard]] std::string at(std::string_view key) const;
  [[nodiscard]] Position place(const std::string& path) const;

  const Applied& applied_;
  Findings& findings_;
  const RuleDraft& draft_;
  const std::string path_;
};

}  // namespace dao::config
