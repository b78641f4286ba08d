#include "dao/admin/times.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

namespace dao::admin {

std::string iso_time(WallTime at) {
  const auto milliseconds = std::chrono::floor<std::chrono::milliseconds>(at);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(milliseconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (milliseconds - seconds).count());
}

nlohmann::json time_or_null(WallTime at) {
  return at == WallTime{} ? nlohmann::json(nullptr) : nlohmann::json(iso_time(at));
}

}  // namespace dao::admin
