// /v1/config and what is below it: reading configurations and ordering others (docs/admin-api.md). On the thread of the
// service. Orders are obeyed by the main thread, which may take seconds; their requests wait for that, and others do
// not wait for them. What is read comes from the store and is compared here, so others may wait for it
// (config_pages.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "dao/admin/answer.h"
#include "dao/admin/request_body.h"
#include "dao/admin/target.h"
#include "dao/config/sources.h"
#include "dao/http/exchange.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/server/operations.h"

namespace dao::admin {

// Of the body of POST /v1/config.
inline constexpr std::size_t kConfigBodyMax = config::kMaxTotalBytes;

class ConfigApi {
 public:
  // All outlive it; the loop has ended when it goes.
  ConfigApi(server::Operations& operations, rt::EpollLoop& loop, rt::Cancel& ending);
  ~ConfigApi();
  ConfigApi(const ConfigApi&) = delete;
  ConfigApi& operator=(const ConfigApi&) = delete;

  enum class Resource : std::uint8_t {
    none,
    config,
    status,
    reload,
    history,
    snapshot,
    diff,
    rollback,
    pause,
    resume,
    abort,
    finish,
  };
  // What the path names.
  [[nodiscard]] static Resource resource_at(const Target& target);
  // The methods that a resource has, for `Allow`.
  [[nodiscard]] static std::string_view methods_of(Resource resource);

  // GET and HEAD of a resource that has them.
  [[nodiscard]] Answer read(Resource resource, const Target& target);
  // POST to a resource that has it.
  rt::Task<Answer> order(Resource resource, const Target& target, http::Exchange& exchange);

 private:
  class Mailbox;

  template <class Outcome, class Order>
  rt::Task<Answer> obeyed(Order order, Answer (*answer_for)(const Outcome&));

  server::Operations& operations_;
  rt::EpollLoop& loop_;
  rt::Cancel& ending_;
  std::shared_ptr<Mailbox> mailbox_;
  BodyMemory body_memory_;
};

}  // namespace dao::admin
