// What the admin API sends back. Plain values.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace dao::admin {

struct Answer {
  std::uint16_t status = 200;
  nlohmann::json body{};
  std::string_view allow{};  // for 405
  std::string etag{};        // of the configuration in use, without quotes; empty: the answer has none
};

// `error`: a word for programs; `detail`: a sentence for people.
[[nodiscard]] inline Answer refuse(std::uint16_t status, std::string_view error, std::string detail) {
  return {.status = status, .body = {{"error", error}, {"detail", std::move(detail)}}};
}

}  // namespace dao::admin
