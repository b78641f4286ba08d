#include "dao/memory/store_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

namespace dao::memory {
namespace {

constexpr std::string_view kMark = "dao-store ";
constexpr int kNumberDigits = 20;
constexpr off_t kOwner = 0;   // the byte that the owner locks
constexpr off_t kNumber = 1;  // the byte that is locked while a number is taken

bool lock_byte(int fd, off_t byte, short type) {
  struct flock range{};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  return fcntl(fd, F_OFD_SETLK, &range) == 0;
}

std::string system_error() {
  return std::strerror(errno);  // NOLINT(concurrency-mt-unsafe): glibc's is
}

}  // namespace

std::expected<StoreLock, std::string> StoreLock::take(const std::string& path, bool beside_predecessor) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return std::unexpected(fmt::format("{} cannot be opened: {}", path, system_error()));
  StoreLock lock(fd);
  struct stat file{};
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
    return std::unexpected(fmt::format("{} is not a regular file", path));
  }
  std::array<char, kMark.size()> mark{};
  lock.known_ = pread(fd, mark.data(), mark.size(), 0) == static_cast<ssize_t>(mark.size()) &&
                std::string_view(mark.data(), mark.size()) == kMark;
  if (!lock.try_own()) {
    if (errno != EAGAIN && errno != EACCES) {
      return std::unexpected(fmt::format("{} cannot be locked: {}", path, system_error()));
    }
    if (!beside_predecessor) return std::unexpected("another DAO is using it");
  }
  return lock;
}

StoreLock::StoreLock(StoreLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), owned_(other.owned_), known_(other.known_) {}

StoreLock::~StoreLock() {
  if (fd_ >= 0) close(fd_);
}

bool StoreLock::try_own() {
  owned_ = owned_ || lock_byte(fd_, kOwner, F_WRLCK);
  return owned_;
}

void StoreLock::make_known() {
  if (known_) return;
  write(last_number());
  known_ = true;
}

std::uint64_t StoreLock::last_number() const {
  std::array<char, kNumberDigits> digits{};
  const ssize_t size = pread(fd_, digits.data(), digits.size(), static_cast<off_t>(kMark.size()));
  if (size != kNumberDigits) return 0;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc{} && end == digits.data() + digits.size() ? number : 0;
}

std::uint64_t StoreLock::next_number(std::uint64_t highest_known) {
  // The other process holds it for two system calls. One that was stopped in between is not waited for.
  constexpr int kTries = 20;
  bool locked = lock_byte(fd_, kNumber, F_WRLCK);
  for (int i = 0; !locked && i < kTries; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    locked = lock_byte(fd_, kNumber, F_WRLCK);
  }
  const std::uint64_t number = std::max(highest_known, last_number()) + 1;
  write(number);
  if (locked) lock_byte(fd_, kNumber, F_UNLCK);
  return number;
}

// If it fails, as with a full disk, then the database has the highest number, or the caller.
void StoreLock::write(std::uint64_t number) const {
  const std::string text = fmt::format("{}{:0{}}\n", kMark, number, kNumberDigits);
  [[maybe_unused]] const ssize_t written = pwrite(fd_, text.data(), text.size(), 0);
}

}  // namespace dao::memory
