#include "dao/memory/open_store.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "dao/base/log.h"
#include "dao/memory/memory_store.h"
#include "dao/memory/sqlite_store.h"

namespace dao::memory {
namespace {

constexpr std::string_view kFile = "/dao.db";

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets any
  return value == nullptr ? std::string{} : std::string(value);
}

// Relative ones are to be ignored, says the XDG specification.
std::string absolute(std::string path) {
  return path.starts_with('/') ? path : std::string{};
}

bool can_be_written(const std::string& directory) {
  std::error_code error;
  if (std::filesystem::create_directory(directory, error)) {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  }
  return std::filesystem::is_directory(directory, error) && access(directory.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

StateDirectories StateDirectories::of_process() {
  StateDirectories directories;
  const std::string given = variable("STATE_DIRECTORY");
  directories.given = absolute(given.substr(0, given.find(':')));
  if (const std::string state = absolute(variable("XDG_STATE_HOME")); !state.empty()) {
    directories.user = state + "/dao";
  } else if (const std::string home = absolute(variable("HOME")); !home.empty()) {
    directories.user = home + "/.local/state/dao";
  }
  return directories;
}

std::string default_path(const StateDirectories& directories) {
  if (!directories.given.empty()) return directories.given + std::string(kFile);
  if (!directories.system.empty() && can_be_written(directories.system)) return directories.system + std::string(kFile);
  if (!directories.user.empty()) return directories.user + std::string(kFile);
  return {};
}

std::unique_ptr<Store> open_store(const config::Memory& settings, const Clock& clock, bool beside_predecessor,
                                  const StateDirectories& directories) {
  if (settings.off) return std::make_unique<MemoryStore>(settings.snapshots);
  const std::string path = settings.path.empty() ? default_path(directories) : settings.path;
  std::string why = "there is no directory to keep anything in";
  if (!path.empty()) {
    auto store = SqliteStore::open({.path = path,
                                    .flush_interval = settings.flush_interval,
                                    .snapshots = settings.snapshots,
                                    .beside_predecessor = beside_predecessor},
                                   clock);
    if (store) return *std::move(store);
    why = std::move(store.error());
  }
  log::warning("the store cannot be used; what DAO learns and the history of its configuration end with this process",
               {{"path", path}, {"error", why}});
  return std::make_unique<MemoryStore>(settings.snapshots, std::move(why));
}

}  // namespace dao::memory
