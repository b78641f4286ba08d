#include "dao/base/utc_text.h"

#include <array>
#include <ctime>

namespace dao {

std::size_t utc_text(WallTime at, const char* format, std::span<char> out) {
  const std::time_t second = std::chrono::floor<std::chrono::seconds>(at).time_since_epoch().count();
  std::tm utc{};
  gmtime_r(&second, &utc);
  return std::strftime(out.data(), out.size(), format, &utc);
}

std::string utc_text(WallTime at, const char* format) {
  std::array<char, 64> text;
  return {text.data(), utc_text(at, format, text)};
}

}  // namespace dao
