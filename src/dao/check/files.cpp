#include "dao/check/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unordered_set>
#include <utility>

#include "dao/admin/access.h"
#include "dao/check/findings.h"
#include "dao/flow/sticky.h"

namespace dao::check {

namespace {

using config::Severity;

void check_access_log(const config::Config& config, config::Diagnostics& found) {
  const std::string& path = config.telemetry.access_log.path;
  if (path.empty() || path == "-") return;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  struct stat status{};
  // A warning: what starts DAO may make the directory, as systemd does.
  if (stat(directory.c_str(), &status) != 0) {
    add(found, Severity::warning, "telemetry.access_log.path",
        fmt::format("there is no directory for the access log: {}: {}", directory, std::strerror(errno)));
  } else if (!S_ISDIR(status.st_mode)) {
    add(found, Severity::warning, "telemetry.access_log.path", fmt::format("{} is not a directory", directory));
  }
}

}  // namespace

std::optional<Unreadable> unreadable(const std::string& path) {
  // A pipe that nobody writes to must not hold up the check.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Unreadable{.why = std::strerror(errno), .forbidden = errno == EACCES || errno == EPERM};
  struct stat status{};
  const bool directory = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
  close(fd);
  if (directory) return Unreadable{.why = "it is a directory"};
  return std::nullopt;
}

void add_unreadable(config::Diagnostics& to, std::string key, const std::string& path, const Unreadable& unreadable) {
  if (unreadable.forbidden) {
    add(to, Severity::warning, std::move(key), fmt::format("cannot read {}: {}", path, unreadable.why),
        "a check by the user that DAO runs as");
  } else {
    add(to, Severity::error, std::move(key), fmt::format("cannot read {}: {}", path, unreadable.why));
  }
}

config::Diagnostics check_files(const config::Config& config) {
  config::Diagnostics found;
  if (const std::string& path = config.admin.token_file; config.admin.bind && !path.empty()) {
    if (const auto why = unreadable(path)) {
      add_unreadable(found, "admin.token_file", path, *why);
    } else if (const auto token = admin::read_token(path); !token) {
      add(found, Severity::error, "admin.token_file", token.error());
    }
  }
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < config.rules.size(); ++i) {
    const std::string& path = config.rules[i].sticky.secret_file;
    if (path.empty() || !seen.insert(path).second) continue;
    std::string key = fmt::format("routes.rule[{}].sticky.secret_file", i);
    if (const auto why = unreadable(path)) {
      add_unreadable(found, std::move(key), path, *why);
    } else if (const auto secret = flow::sticky_secret(config.rules[i]); !secret) {
      add(found, Severity::error, std::move(key), secret.error());
    }
  }
  check_access_log(config, found);
  return found;
}

}  // namespace dao::check
