// When to look at files that have just changed: not at once, for a change is often several, and not while one of them
// is being written, as far as that is known. Values only, in any clock. One thread.
#pragma once

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "dao/base/clock.h"

namespace dao::memory {

class Debounce {
 public:
  struct Limits {
    Nanoseconds quiet = std::chrono::milliseconds(200);  // so long nothing more has happened
    Nanoseconds longest = std::chrono::seconds(2);       // or so long since the first of a storm that does not end
    Nanoseconds unfinished = std::chrono::seconds(10);   // or so long, if a file is written all that time
  };

  Debounce() = default;
  explicit Debounce(const Limits& limits) : limits_(limits) {}

  // Something is different now, and whole: a file was moved here, or is gone.
  void changed(Instant now) { note(now); }
  // `file` is being written; finished() says when it is whole.
  void writing(std::string_view file, Instant now) {
    note(now);
    unfinished_.emplace(file);
  }
  void finished(std::string_view file, Instant now) {
    note(now);
    forget(file);
  }
  // Nothing will be heard of it any more.
  void forget(std::string_view file) {
    if (const auto found = unfinished_.find(file); found != unfinished_.end()) unfinished_.erase(found);
  }

  // When to look; kNever: nothing has happened.
  [[nodiscard]] Instant due() const {
    if (first_ == kNever) return kNever;
    if (!unfinished_.empty()) return first_ + limits_.unfinished;
    return std::min(last_ + limits_.quiet, first_ + limits_.longest);
  }
  [[nodiscard]] bool writing() const { return !unfinished_.empty(); }
  // Somebody looks now. Whoever still writes then will be heard of again.
  void looked() {
    first_ = last_ = kNever;
    unfinished_.clear();
  }

 private:
  void note(Instant now) {
    if (first_ == kNever) first_ = now;
    last_ = now;
  }

  Limits limits_;
  Instant first_ = kNever;  // since the last look
  Instant last_ = kNever;
  std::set<std::string, std::less<>> unfinished_;
};

}  // namespace dao::memory
