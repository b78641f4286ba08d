#include "dao/admin/times.h"

#include <fmt/format.h>

#include <chrono>

#include "dao/base/utc_text.h"

namespace dao::admin {

std::string iso_time(WallTime at) {
  const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(at);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(milliseconds);
  return fmt::format("{}.{:03}Z", utc_text(seconds, "%Y-%m-%dT%H:%M:%S"), (milliseconds - seconds).count());
}

nlohmann::json time_or_null(WallTime at) {
  return at == WallTime{} ? nlohmann::json(nullptr) : nlohmann::json(iso_time(at));
}

}  // namespace dao::admin
