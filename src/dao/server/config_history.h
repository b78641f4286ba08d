// The configurations that were in use, in the store: which to begin with, and a snapshot of each that is applied. The
// main thread; it may wait for the disk.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/memory/store.h"

namespace dao::server {

// What an ETag is made of: the same for the same text, and for no other.
[[nodiscard]] std::string fingerprint(std::string_view text);

class ConfigHistory {
 public:
  // Both outlive it.
  ConfigHistory(memory::Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  struct Applied {
    std::string author;
    std::string reason;
    std::string source;       // the path of the file
    std::string_view text;    // of the configuration
    std::string changes{};    // from the one before: JSON
    std::string_view file{};  // what the file said when it was last read
    std::string_view outcome = memory::kApplied;
  };
  // What was applied while the file said what it says now, by somebody who is not the file: it goes on after a restart.
  // Nothing if the last one that was applied came from the file, or the file has changed since.
  [[nodiscard]] std::optional<memory::Snapshot> to_resume(std::string_view file) const;
  // A configuration that came into use when the process started; one that is the last of the history already gets no
  // second place there. The number of its snapshot.
  std::uint64_t started_with(const Applied& applied);
  // The file was read, and says what is in use: from now on that is the file's.
  void confirmed(std::string_view file);
  // One that came into use later. On disk when it returns, unless the disk is too slow for that.
  std::uint64_t record(const Applied& applied);
  // What became of a transition. On disk likewise.
  void decide(std::uint64_t snapshot, std::string outcome);
  // At the start: the transition that was under way when the last process ended; its snapshot is decided now.
  std::optional<std::uint64_t> give_up_unfinished();

 private:
  void wait_for_disk(std::uint64_t snapshot);

  memory::Store& store_;
  const Clock& clock_;
};

}  // namespace dao::server
