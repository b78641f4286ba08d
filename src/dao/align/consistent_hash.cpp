// The same upstream for the same key, with bounded load (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with
// Bounded Loads", 2018): nobody gets a request that would leave it with more than kBound times its share of all
// requests under way, rounded up; the next one on the ring that has room gets it. So a popular key or a slow upstream
// overloads nobody, and keys whose upstream is away go on along the ring, while all other keys stay where they are.
#include <algorithm>
#include <cmath>

#include "dao/align/hash_ring.h"
#include "dao/align/policy.h"

namespace dao::align {
namespace {

constexpr double kBound = 1.25;

// What all candidates have under way together, and their weight, without a walk over all of them for each request: each
// look() reads a few of them anew. Exact for up to kAll candidates.
class Totals {
 public:
  static constexpr std::size_t kAll = 8;
  static constexpr std::size_t kEach = 4;  // where there are more

  void prepare(std::size_t count) { parts_.assign(count, {}); }
  void look(const Choosing& choosing) {
    // The first time all of them.
    const std::size_t count = known_ && parts_.size() > kAll ? kEach : parts_.size();
    known_ = true;
    for (std::size_t i = 0; i < count; ++i) {
      if (next_ == parts_.size()) next_ = 0;
      Part& part = parts_[next_];
      under_way_ -= part.under_way;
      weight_ -= part.weight;
      const std::uint32_t upstream = choosing.candidates[next_].upstream;
      const bool counts = choosing.in_reach(next_);
      const bool admitted =
          choosing.fail_open ? !choosing.admission.drained(upstream) : choosing.admission.admits(upstream);
      part.under_way = counts ? std::max<std::int64_t>(choosing.in_flight.count(upstream), 0) : 0;
      part.weight = counts && admitted ? choosing.weight(next_) : 0;
      under_way_ += part.under_way;
      weight_ += part.weight;
      ++next_;
    }
  }
  // How many a candidate of that weight may have under way, the new one included. At least 1.
  [[nodiscard]] std::int64_t room(std::uint32_t weight) const {
    if (weight_ == 0) return 1;
    const double share = static_cast<double>(weight) / static_cast<double>(weight_);
    return static_cast<std::int64_t>(std::ceil(kBound * static_cast<double>(under_way_ + 1) * share));
  }

 private:
  struct Part {
    std::int64_t under_way = 0;
    std::uint32_t weight = 0;
  };
  std::vector<Part> parts_;
  std::size_t next_ = 0;
  std::int64_t under_way_ = 0;
  std::uint64_t weight_ = 0;
  bool known_ = false;
};

class ConsistentHash final : public Policy {
 public:
  void prepare(std::span<const Candidate> candidates) override {
    ring_.prepare(candidates);
    totals_ = {};
    totals_.prepare(candidates.size());
  }

  std::optional<std::size_t> choose(const Choosing& choosing) override {
    if (ring_.size() != choosing.candidates.size()) prepare(choosing.candidates);
    if (ring_.points() == 0) return std::nullopt;
    totals_.look(choosing);
    // A request without a key goes anywhere.
    return on_ring(choosing, choosing.key != 0 ? choosing.key : choosing.random.next());
  }

  // The score is how much of its room a candidate would use; above 1 it is passed over.
  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    ConsistentHash same;
    same = *this;
    Random random = choosing.random;
    const std::optional<std::size_t> best = same.choose(choosing.with(random));
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      Explained& one = into.emplace_back();
      one.upstream = choosing.candidates[i].upstream;
      one.usable = choosing.usable(i);
      one.score = static_cast<double>(choosing.in_flight.count(one.upstream) + 1) /
                  static_cast<double>(same.totals_.room(choosing.weight(i)));
      one.chosen = best == i;
      one.why = "the next on the ring after the key that has room for one more";
    }
  }

 private:
  [[nodiscard]] bool has_room(const Choosing& choosing, std::size_t index) const {
    return choosing.in_flight.count(choosing.candidates[index].upstream) < totals_.room(choosing.weight(index));
  }

  [[nodiscard]] std::optional<std::size_t> on_ring(const Choosing& choosing, std::uint64_t key) const {
    // Where most are away or full, a walk along the whole ring would look at each of them many times.
    constexpr std::size_t kSteps = 64;
    std::optional<std::size_t> usable;  // the first one, room or not
    std::size_t point = ring_.find(key);
    for (std::size_t step = 0; step < std::min(kSteps, ring_.points()); ++step, point = ring_.after(point)) {
      const std::size_t index = ring_.candidate(point);
      if (!choosing.usable(index)) continue;
      if (has_room(choosing, index)) return index;
      if (!usable) usable = index;
    }
    // In order of the candidates from a place of the key's own, so that each key still has its own order.
    const std::size_t count = choosing.candidates.size();
    const std::size_t start = ring_.candidate(point);
    for (std::size_t step = 0; step < count; ++step) {
      const std::size_t index = (start + step) % count;
      if (!choosing.usable(index)) continue;
      if (has_room(choosing, index)) return index;
      if (!usable) usable = index;
    }
    return usable;
  }

  HashRing ring_;
  Totals totals_;
};

}  // namespace

std::unique_ptr<Policy> make_consistent_hash() {
  return std::make_unique<ConsistentHash>();
}

}  // namespace dao::align
