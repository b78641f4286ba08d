// The file PATH.lock beside a store's database: one DAO has the store at a time (and for a while its successor), and
// the numbers of snapshots are given out here, at once and for both. One thread at a time.
//
// The locks are those of open file descriptions (F_OFD_SETLK), so they end with the process however it ends. The file
// is left where it is: to remove it would let two processes lock two files of that name.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace dao::memory {

class StoreLock {
 public:
  // `beside_predecessor`: this process was started by the one that has the store, to replace it; then it need not be
  // free. The error is a sentence.
  static std::expected<StoreLock, std::string> take(const std::string& path, bool beside_predecessor);

  StoreLock(StoreLock&& other) noexcept;
  StoreLock& operator=(StoreLock&&) = delete;
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;
  ~StoreLock();

  // Whether it is this process's own. If not, try_own() makes it so once the predecessor has ended.
  [[nodiscard]] bool owned() const { return owned_; }
  bool try_own();

  // A store of DAO was here before: whatever is found in its place may be moved aside.
  [[nodiscard]] bool known() const { return known_; }
  // Says so for the next time.
  void make_known();

  // The highest number that was given out, here or, as far as the caller knows, elsewhere, and one.
  std::uint64_t next_number(std::uint64_t highest_known);
  [[nodiscard]] std::uint64_t last_number() const;

 private:
  explicit StoreLock(int fd) : fd_(fd) {}
  void write(std::uint64_t number) const;

  int fd_ = -1;
  bool owned_ = false;
  bool known_ = false;
};

}  // namespace dao::memory
