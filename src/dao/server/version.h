#pragma once

#include <string_view>

namespace dao::server {

inline constexpr std::string_view kVersion = DAO_VERSION;

}  // namespace dao::server
