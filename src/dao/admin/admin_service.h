// The admin API: what an operator asks DAO and tells it (docs/admin-api.md), as HTTP on an address of its own. `daoctl`
// speaks it.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "dao/admin/access.h"
#include "dao/admin/answer.h"
#include "dao/admin/config_api.h"
#include "dao/admin/target.h"
#include "dao/server/operations.h"

namespace dao::admin {

class AdminService final : public server::SideService {
 public:
  // `operations` outlives it. Takes ownership of `listen_fd`.
  AdminService(int listen_fd, AccessRules rules, server::Operations& operations);
  ~AdminService() override { stop(false); }

 private:
  rt::Task<> handle(http::Exchange& exchange, const Error* rejected) override;
  rt::Task<Answer> answer_to(http::Exchange& exchange);
  rt::Task<Answer> change(http::Exchange& exchange, const std::string& name, bool drain);
  rt::Task<Answer> explain(const Target& target);
  [[nodiscard]] Answer read(const Target& target);

  const AccessRules rules_;
  server::Operations& operations_;
  ConfigApi config_;
  BodyMemory body_memory_;
};

// Reads the token, then makes the service.
class Factory final : public server::AdminFactory {
 public:
  std::expected<bool, std::string> prepare(const config::Config& config) override;
  std::unique_ptr<server::SideService> make(int listen_fd, const net::SocketAddress& bound,
                                            server::Operations& operations) override;

 private:
  std::optional<AccessRules> in_use_;
  AccessRules prepared_;
};

}  // namespace dao::admin
