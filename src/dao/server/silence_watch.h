// Notices that an upstream has become silent while a request waits there: of several requests none is answered, though
// by the usual times a dozen would have been, while other upstreams of the route answer. Then the attempt is called
// off, so that the request can go elsewhere long before its timeout. Slowness alone is never taken for silence: any
// answer, to whichever request, ends it.
//
// One thread. It must be told to watch() only what may be sent again.
#pragma once

#include <cstdint>

#include "dao/http/exchange.h"
#include "dao/rt/cancel.h"
#include "dao/rt/timer_wheel.h"
#include "dao/server/worker_state.h"

namespace dao::server {

class SilenceWatch : private rt::Timer {
 public:
  // Borrows all of them. `attempt` is requested with ErrorKind::silent.
  SilenceWatch(WorkerState& worker, const http::Exchange& exchange, const Route& route, std::uint32_t upstream,
               rt::Cancel& attempt);
  SilenceWatch(const SilenceWatch&) = delete;
  SilenceWatch& operator=(const SilenceWatch&) = delete;
  ~SilenceWatch();

  // From now on.
  void watch();

 private:
  void look();
  [[nodiscard]] bool others_answer() const;

  WorkerState& worker_;
  const http::Exchange& exchange_;
  const Route& route_;
  std::uint32_t upstream_;
  rt::Cancel& attempt_;
  Instant began_{};
};

}  // namespace dao::server
