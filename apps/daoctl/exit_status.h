// What `daoctl` ends with.
#pragma once

namespace dao {

inline constexpr int kSuccess = 0;
inline constexpr int kFailed = 1;       // DAO said no
inline constexpr int kUsage = 2;        // the command line makes no sense
inline constexpr int kUnreachable = 3;  // no DAO answers there

}  // namespace dao
