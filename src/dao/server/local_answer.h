// Answers that DAO gives itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "dao/base/error.h"
#include "dao/http/exchange.h"
#include "dao/rt/task.h"
#include "dao/server/worker_state.h"

namespace dao::server {

struct ErrorAnswered {
  std::uint16_t status = 0;                 // that belongs into the log
  std::optional<std::uint8_t> grpc_status;  // if the answer was one of gRPC
};

// Tells the client of the error, if there is still somebody and something to tell: nothing is sent when the client is
// gone, and an answer that has already begun is aborted. `server`: of the request's configuration. `response`: a head
// to use, cleared here. `explanation`: the value of x-dao-explain; empty: none.
rt::Task<ErrorAnswered> answer_error(WorkerState& worker, const config::Server& server, http::Exchange& exchange,
                                     http::ResponseHead& response, const Error& error,
                                     std::string_view explanation = {});

// A TRACE or OPTIONS whose Max-Forwards ends here (RFC 9110 sections 9.3.7 and 9.3.8).
rt::Task<std::uint16_t> answer_as_last_hop(WorkerState& worker, http::Exchange& exchange, http::ResponseHead& response);

// A plain answer. `body` and `content_type` must outlive the call.
rt::Task<Result<>> answer(http::Exchange& exchange, http::ResponseHead& response, std::uint16_t status,
                          std::string_view content_type, std::string_view body, std::string_view date);

}  // namespace dao::server
