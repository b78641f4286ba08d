// The rings through which workers tell a transition of their requests: made when it begins, gone when the last request
// that began in it has ended. A worker gets its ring with the message that the transition begins, and writes to it
// until told otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dao/liminal/side_sample.h"
#include "dao/liminal/transition.h"
#include "dao/sense/sample_ring.h"

namespace dao::liminal {

class SideRings {
 public:
  explicit SideRings(std::size_t workers) {
    for (std::size_t i = 0; i < workers; ++i) rings_.push_back(std::make_shared<sense::SampleRing>());
    from_.resize(workers);
  }

  // For that worker alone to write to: to_word() makes the words.
  [[nodiscard]] std::shared_ptr<sense::SampleRing> of(std::size_t worker) const { return rings_[worker]; }

  // The mind's, before each step: hands everything new to the transition. How many words came too fast to be read;
  // those of both sides are lost alike.
  std::uint64_t read_into(Transition& transition) {
    std::uint64_t lost = 0;
    for (std::size_t i = 0; i < rings_.size(); ++i) {
      lost += rings_[i]->read(from_[i], [&](const sense::Sample& word) { transition.add(from_word(word)); });
    }
    return lost;
  }

 private:
  std::vector<std::shared_ptr<sense::SampleRing>> rings_;
  std::vector<std::uint64_t> from_;
};

}  // namespace dao::liminal
