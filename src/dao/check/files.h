// The files that a configuration names, other than certificates and keys (certificates.h): are they there, and of use?
#pragma once

#include <optional>
#include <string>

#include "dao/config/config.h"
#include "dao/config/load.h"

namespace dao::check {

// Why a file cannot be read by this user.
struct Unreadable {
  std::string why;
  bool forbidden = false;  // only to this user: another one may read it
};
[[nodiscard]] std::optional<Unreadable> unreadable(const std::string& path);

// Says that a file cannot be read. An error, since DAO would not start; but a warning if only this user may not, who
// need not be the one that DAO runs as.
void add_unreadable(config::Diagnostics& to, std::string key, const std::string& path, const Unreadable& unreadable);

// The token of the admin API, the secrets of sticky sessions, the directory of the access log.
[[nodiscard]] config::Diagnostics check_files(const config::Config& config);

}  // namespace dao::check
