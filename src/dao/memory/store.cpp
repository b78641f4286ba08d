#include "dao/memory/store.h"

#include <limits>
#include <utility>

namespace dao::memory {

Read<std::optional<Snapshot>> last_applied(Store& store) {
  auto all = store.snapshots(std::numeric_limits<std::size_t>::max());
  if (!all) return std::unexpected(std::move(all.error()));
  const auto found = std::ranges::find(*all, kApplied, &Snapshot::outcome);
  if (found == all->end()) return std::optional<Snapshot>{};
  return store.snapshot(found->number);
}

}  // namespace dao::memory
