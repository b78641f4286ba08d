// The request path. docs/life-of-a-request.md walks through it.
#pragma once

#include "dao/base/error.h"
#include "dao/http/exchange.h"
#include "dao/rt/task.h"
#include "dao/server/worker_state.h"

namespace dao::server {

// Answers one exchange, or aborts it, and accounts for it. `rejected`: no usable request was read, and why. The
// worker's thread. Returns when the last byte was handed to the kernel.
rt::Task<> process_request(WorkerState& worker, http::Exchange& exchange, const Error* rejected);

}  // namespace dao::server
