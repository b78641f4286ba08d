// The API's answers as text for people: aligned columns, no colours, nothing of a terminal's control in it.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace dao {

// Cells in rows of one length; the first row is the head. Numbers are to stand right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> head, std::size_t left_columns = 1);
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::size_t left_columns_;
};

// A text as it is, "-" for null, anything else as JSON.
std::string text_of(const nlohmann::json& value);

// A number in as many digits as tell something.
std::string figure(const nlohmann::json& value);
// "3 h 12 min".
std::string duration(double seconds);

std::string status_text(const nlohmann::json& status);
std::string upstreams_text(const nlohmann::json& page);
std::string routes_text(const nlohmann::json& page);
std::string explain_text(const nlohmann::json& page);
std::string drained_text(const nlohmann::json& answer);

}  // namespace dao
