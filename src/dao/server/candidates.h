// The upstreams of one request: which were tried, which is next. It asks the route's policy, minds what presence, the
// limits and the filters say, and counts the request in where it goes. One thread; lives as long as the request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "dao/align/policy.h"
#include "dao/base/error.h"
#include "dao/flow/filtered_exchange.h"
#include "dao/server/explain.h"
#include "dao/server/upstream_queue.h"
#include "dao/server/worker_state.h"

namespace dao::server {

class Candidates final : public RoomSeeker {
 public:
  // `selection`: which of them the filters of the route leave, and which they want first; `key`: as in align::Choosing;
  // `explain`: null, or to be told of each choice.
  Candidates(WorkerState& worker, const config::Rule& rule, Route& route, std::uint64_t intent, std::uint64_t key,
             flow::Selection selection, ExplainHeader* explain);
  Candidates(const Candidates&) = delete;
  Candidates& operator=(const Candidates&) = delete;
  ~Candidates() = default;

  // The next upstream, in which the request is counted from now on until leave(), or why there is none; queue_full: all
  // that it may go to are at their limit. One that is not admitted is asked only if none was from the start, for then
  // it is better than nothing; a request that failed elsewhere is not tried on one that is known to be down.
  Result<std::uint32_t> next();
  // The place of the one that was found last among those of the rule.
  [[nodiscard]] std::size_t last() const { return last_; }
  // The request has left the upstream that was found last.
  void leave();
  // Somewhere that was not tried yet; `at_once`: and that has room.
  [[nodiscard]] bool another_left(bool at_once) const;

  // As a RoomSeeker, and what came of it.
  [[nodiscard]] const Result<std::uint32_t>& found() const { return found_; }
  [[nodiscard]] bool wants(std::uint32_t upstream) const override { return index_of(upstream).has_value(); }
  bool accept(std::uint32_t upstream) override;
  bool seek() override;
  bool announce(std::uint64_t worker) override;
  [[nodiscard]] const void* kind() const override;

 private:
  static constexpr std::size_t kMostTries = 3;

  [[nodiscard]] align::Choosing now();
  [[nodiscard]] bool allowed(std::size_t index) const {
    return selection_.allowed == nullptr || (*selection_.allowed)[index] != 0;
  }
  [[nodiscard]] bool tried(std::size_t index) const;
  // Nothing: this request does not go there.
  [[nodiscard]] std::optional<std::size_t> index_of(std::uint32_t upstream) const;
  // Marks what was tried, and what the filters do not leave, as not usable; or takes that back.
  void exclude(bool excluded);
  std::uint32_t take(std::size_t index);
  // Counts the request in. False: there is no room.
  bool count_in(std::size_t index);
  // The same, with a token if the upstream is on trial. Others may take the last slot, or the last token, between the
  // look and the choice.
  bool enter(std::size_t index);
  std::optional<std::size_t> choose_admitted(align::Choosing& choosing);
  std::optional<std::size_t> choose_any(align::Choosing& choosing);
  std::optional<std::size_t> ask_policy(align::Choosing& choosing);
  void fail_open();

  WorkerState& worker_;
  const config::Rule& rule_;
  Route& route_;
  std::uint64_t intent_;
  std::uint64_t key_;
  const flow::Selection selection_;
  ExplainHeader* explain_;
  std::array<std::size_t, kMostTries> tried_{};
  std::size_t tried_count_ = 0;
  std::size_t last_ = 0;
  bool fails_open_ = false;
  Result<std::uint32_t> found_ = 0;
};

}  // namespace dao::server
