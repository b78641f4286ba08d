// Memory for Views: one that nobody reads any more is filled anew, for those of many upstreams are large, and most of
// what is in them stays as it is.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "dao/sense/view.h"

namespace dao::liminal {

class ViewPool : public std::enable_shared_from_this<ViewPool> {
 public:
  // A new View, or one as it was when its last reader let go of it. Any thread; so may the last reader be.
  [[nodiscard]] std::shared_ptr<sense::View> take() {
    std::unique_ptr<sense::View> view;
    {
      const std::lock_guard lock(mutex_);
      if (!spare_.empty()) {
        view = std::move(spare_.back());
        spare_.pop_back();
      }
    }
    if (!view) view = std::make_unique<sense::View>();
    return {view.release(), [pool = shared_from_this()](sense::View* done) { pool->give_back(done); }};
  }

 private:
  void give_back(sense::View* done) {
    constexpr std::size_t kSpare = 2;
    std::unique_ptr<sense::View> view(done);
    const std::lock_guard lock(mutex_);
    if (spare_.size() < kSpare) spare_.push_back(std::move(view));
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<sense::View>> spare_;
};

}  // namespace dao::liminal
