// Elements by number that stay where they are while more of them are added, so that one thread may add some while
// others use those they know of. The memory of all that may ever come is reserved, not taken: an element costs memory
// when it is first touched.
//
// An element begins as zeros, without a constructor being run: for plain numbers and atomics of them.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <type_traits>

namespace dao::sense {

// How many upstreams, or routes, a process can number.
inline constexpr std::size_t kMostNumbers = std::size_t{1} << 18;

template <class T>
class Slots {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit Slots(std::size_t count = 0) {
    void* reserved = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) std::abort();  // out of addresses: nothing can go on
    elements_ = static_cast<T*>(reserved);
    grow(count);
  }
  Slots(const Slots&) = delete;
  Slots& operator=(const Slots&) = delete;
  ~Slots() { munmap(elements_, kBytes); }

  // One thread, or none at the same time as another. Never shrinks. `count` is at most kMostNumbers; aborts if the
  // system has no memory to promise.
  void grow(std::size_t count) {
    if (count <= size()) return;
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t wanted = (count * sizeof(T) + page - 1) / page * page;
    if (count > kMostNumbers || mprotect(elements_, std::min(wanted, kBytes), PROT_READ | PROT_WRITE) != 0)
      std::abort();
    size_.store(count, std::memory_order_release);
  }

  // Any thread.
  [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] T& operator[](std::size_t number) { return elements_[number]; }
  [[nodiscard]] const T& operator[](std::size_t number) const { return elements_[number]; }
  [[nodiscard]] std::span<const T> all() const { return {elements_, size()}; }

 private:
  static constexpr std::size_t kPageMost = std::size_t{1} << 16;
  static constexpr std::size_t kBytes = (kMostNumbers * sizeof(T) + kPageMost - 1) / kPageMost * kPageMost;

  T* elements_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace dao::sense
