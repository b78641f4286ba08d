// What came of one attempt, as far as presence is concerned: whoever asks an upstream says so with report_outcome().
//
// A success is one addition to the worker's own counters and one look at a shared word, which is written only after
// failures. A failure of transport is written to the shared word too: the one that completes a row of them closes the
// upstream's gate at once, for all workers; the mind (liminal/mind.h) finds that at its next step and owns the rest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dao/base/counter.h"
#include "dao/base/error.h"
#include "dao/sense/admission.h"

namespace dao::sense {

enum class Outcome : std::uint8_t {
  success,       // an answer that is no 5xx
  server_error,  // a 5xx
  timeout,       // no answer in time
  transport,     // the connection was lost, or what came was no answer
  refused,       // nobody listens there, or it has no address
  cancelled,     // called off before there was an answer, by the client or by DAO: says nothing
};
inline constexpr std::size_t kOutcomes = 6;

using OutcomeCounters = std::array<Counter, kOutcomes>;

// An answer with this status has come.
constexpr Outcome outcome_of(std::uint16_t status) {
  return status >= 500 ? Outcome::server_error : Outcome::success;
}

// What the failure of an attempt says of the upstream.
constexpr Outcome outcome_of(const Error& error) {
  if (error.origin != Origin::backend) return Outcome::cancelled;
  switch (error.kind) {
    case ErrorKind::refused:
    case ErrorKind::unreachable:
    case ErrorKind::no_upstream:
    case ErrorKind::dns_error:
    case ErrorKind::dns_timeout:
      return Outcome::refused;
    case ErrorKind::timeout_connect:
    case ErrorKind::timeout_head:
    case ErrorKind::timeout_body:
    case ErrorKind::timeout_write:
    case ErrorKind::timeout_total:
      return Outcome::timeout;
    case ErrorKind::none:
    case ErrorKind::cancelled:
    case ErrorKind::silent:  // it may be no more than slow, and nobody is shut out for that alone
      return Outcome::cancelled;
    // It answers, though not as one should.
    case ErrorKind::stream_reset:
    case ErrorKind::malformed:
    case ErrorKind::head_too_large:
    case ErrorKind::unsupported:
    case ErrorKind::version:
    case ErrorKind::unexpected_upgrade:
      return Outcome::server_error;
    default:
      return Outcome::transport;
  }
}

// `own`: the worker's counters of that upstream. `row`: how many failures of transport in a row close the gate; a
// refused connection stands for all of them; 0: none do.
inline void report_outcome(OutcomeCounters& own, Admission& admission, std::size_t upstream, Outcome outcome,
                           std::uint32_t row) {
  own[static_cast<std::size_t>(outcome)].add();
  switch (outcome) {
    case Outcome::success:
      admission.succeeded(upstream);
      break;
    case Outcome::timeout:
    case Outcome::transport:
    case Outcome::refused:
      if (row == 0) break;
      if (admission.failed(upstream, outcome == Outcome::refused ? row : 1) >= row) admission.close(upstream);
      break;
    case Outcome::server_error:
    case Outcome::cancelled:
      break;
  }
}

// The same, to be handed to whoever makes the attempt. One worker's.
class OutcomeReport {
 public:
  OutcomeReport() = default;  // to nobody
  OutcomeReport(OutcomeCounters& own, Admission& admission, std::size_t upstream, std::uint32_t row)
      : own_(&own), admission_(&admission), upstream_(upstream), row_(row) {}
  void operator()(Outcome outcome) const {
    if (own_ != nullptr) report_outcome(*own_, *admission_, upstream_, outcome, row_);
  }

 private:
  OutcomeCounters* own_ = nullptr;
  Admission* admission_ = nullptr;
  std::size_t upstream_ = 0;
  std::uint32_t row_ = 0;
};

}  // namespace dao::sense
