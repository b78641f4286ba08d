// /metrics, /livez and /ready on an address of their own.
#pragma once

#include <functional>
#include <string>

#include "dao/server/side_service.h"

namespace dao::server {

class TelemetryService final : public SideService {
 public:
  // `metrics` makes the text of /metrics, `ready` tells whether traffic is welcome; both are called on this thread.
  // Takes ownership of `listen_fd`.
  TelemetryService(int listen_fd, std::function<std::string()> metrics, std::function<bool()> ready);
  ~TelemetryService() override { stop(false); }

 private:
  rt::Task<> handle(http::Exchange& exchange, const Error* rejected) override;

  std::function<std::string()> metrics_;
  std::function<bool()> ready_;
};

}  // namespace dao::server
