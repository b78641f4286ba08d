#include "dao/server/server.h"

#include <utility>

#include "dao/server/process.h"

namespace dao::server {

int run(config::LoadAttempt file, AdminFactory& admin) {
  Process process(admin);
  return process.run(std::move(file));
}

}  // namespace dao::server
