#include "dao/telemetry/access_log_lane.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <ctime>

namespace dao::telemetry {
namespace {

constexpr std::size_t kSmallestRing = 64 * 1024;
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "the kernel looks at the plain word");

}  // namespace

void AccessLogBell::ring() {
  if (rung_.load(std::memory_order_relaxed) == 0) ring_always();
}

void AccessLogBell::ring_always() {
  if (rung_.exchange(1, std::memory_order_acq_rel) == 0) {
    ::syscall(SYS_futex, &rung_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
}

void AccessLogBell::wait(std::chrono::milliseconds timeout) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
  const timespec limit{.tv_sec = seconds.count(), .tv_nsec = std::chrono::nanoseconds{timeout - seconds}.count()};
  ::syscall(SYS_futex, &rung_, FUTEX_WAIT_PRIVATE, 0, &limit, nullptr, 0);
}

AccessLogLane::AccessLogLane(AccessLogFormat format, std::size_t buffer_bytes, AccessLogBell& bell)
    : size_(std::bit_ceil(std::max(buffer_bytes, kSmallestRing))),
      bytes_(std::make_unique_for_overwrite<char[]>(size_)),
      bell_(bell),
      formatter_(format) {}

bool AccessLogLane::write(const RequestRecord& record) {
  const std::size_t need = AccessLogFormatter::max_size(record);
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  const std::size_t offset = head & (size_ - 1);
  const bool next_lap = need > size_ - offset;
  const std::uint64_t start = next_lap ? head - offset + size_ : head;
  if (start + need - seen_tail_ > size_) {
    seen_tail_ = tail_.load(std::memory_order_acquire);
    if (start + need - seen_tail_ > size_) {
      dropped_.add();
      bell_.ring();
      return false;
    }
  }
  char* const out = bytes_.get() + (start & (size_ - 1));
  const auto length = static_cast<std::size_t>(formatter_.format(record, out) - out);
  const std::uint64_t end = start + length;
  // At most one lap end lies between tail and head, so one word for it is enough: the consumer has read it before the
  // producer can come to the next.
  if (next_lap) lap_end_.store(offset, std::memory_order_relaxed);
  if ((end & (size_ - 1)) == 0) lap_end_.store(size_, std::memory_order_relaxed);
  head_.store(end, std::memory_order_release);
  if (end - seen_tail_ > size_ / 2) {
    seen_tail_ = tail_.load(std::memory_order_acquire);
    if (end - seen_tail_ > size_ / 2) bell_.ring();
  }
  return true;
}

std::span<const char> AccessLogLane::readable() {
  std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t head = head_.load(std::memory_order_acquire);
  const std::size_t offset = tail & (size_ - 1);
  const std::uint64_t next_lap = tail - offset + size_;
  if (head < next_lap) return {bytes_.get() + offset, static_cast<std::size_t>(head - tail)};
  const std::size_t lap_end = lap_end_.load(std::memory_order_relaxed);
  if (offset < lap_end) return {bytes_.get() + offset, lap_end - offset};
  tail = next_lap;
  tail_.store(tail, std::memory_order_release);
  return {bytes_.get(), static_cast<std::size_t>(head - tail)};
}

void AccessLogLane::consume(std::size_t bytes) {
  tail_.store(tail_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
}

}  // namespace dao::telemetry
