// Why an upstream is chosen: what a worker's policy says to the admin API, and to a client that asks with
// `x-dao-explain`. One thread, the worker's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dao/align/policy.h"
#include "dao/http/exchange.h"
#include "dao/server/worker_state.h"

namespace dao::server {

// Of which choice one wants to know.
struct ExplainQuestion {
  std::string rule;          // its name
  std::uint64_t intent = 0;  // as in align::Choosing
  std::uint64_t key = 0;
  bool coming = false;  // by the new side of the transition that is under way
};

struct ExplainAnswer {
  bool fail_open = false;                    // nobody is admitted, so those are asked that are not
  bool waits = false;                        // nobody is chosen, for all are full: the request waits
  std::vector<align::Explained> candidates;  // in the order of the route; none: it has no such rule
  std::vector<std::string> names;            // of the candidates
  std::vector<std::uint32_t> weights;        // of the candidates
  std::vector<std::uint32_t> limits;         // max_in_flight of the candidates; 0: none
};

// What the rule's policy would choose for the next request, with every term. Changes nothing.
ExplainAnswer explain_choice(WorkerState& worker, const ExplainQuestion& question);

// The terms of the choices of one request, for its client.
class ExplainHeader {
 public:
  static constexpr std::string_view kName = "x-dao-explain";
  // More candidates than these are counted, not shown: a head has its limits.
  static constexpr std::size_t kMostShown = 16;

  // Null, and nothing done, unless the configuration allows it, the client is trusted, and it asks. The field of the
  // request is taken out.
  static std::unique_ptr<ExplainHeader> asked_by(const config::Admin& admin, http::Exchange& exchange);

  // Right before a choice is made, and again if it is made anew with `fail_open`.
  void before(const align::Policy& policy, const align::Choosing& choosing);
  // What was chosen for a request of the rule: an index into the candidates.
  void chose(const WorkerState& worker, const config::Rule& rule, std::size_t index);
  // The value of the field: `chosen=a attempt=1 route=r policy=p; upstream=a score=...; upstream=b ...`. Empty before
  // the first choice.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::vector<align::Explained> terms_;
  unsigned attempts_ = 0;
  bool fail_open_ = false;
  std::string text_;
};

}  // namespace dao::server
