#include "dao/memory/file_content.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "dao/base/random.h"

namespace dao::memory {

namespace {

constexpr std::size_t kChunk = 65536;

// One text has one hash, however it comes: all chunks but the last are full.
class Hasher {
 public:
  void add(std::string_view chunk) {
    size_ += chunk.size();
    for (; chunk.size() >= 8; chunk.remove_prefix(8)) add_word(chunk);
    if (!chunk.empty()) add_word(chunk);
  }
  [[nodiscard]] FileContent result() const { return {.size = size_, .hash = hash_}; }

 private:
  void add_word(std::string_view text) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), std::min<std::size_t>(text.size(), sizeof word));
    const Uint128 product = static_cast<Uint128>(hash_ ^ word) * 0x9e3779b97f4a7c15U;
    hash_ = static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U) ^ (hash_ << 1U);
  }

  std::uint64_t size_ = 0;
  std::uint64_t hash_ = 0x243f6a8885a308d3U;
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

FileContent content_of(std::string_view text) {
  Hasher hasher;
  for (; !text.empty(); text = text.substr(std::min(kChunk, text.size()))) hasher.add(text.substr(0, kChunk));
  return hasher.result();
}

FileContent read_content(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return {.error = errno};
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return {.error = errno};
  if (!S_ISREG(status.st_mode)) return {.error = EINVAL};
  Hasher hasher;
  std::vector<char> chunk(kChunk);
  for (std::size_t filled = kChunk; filled == kChunk;) {
    filled = 0;
    while (filled < kChunk) {
      const ssize_t count = read(file.get(), chunk.data() + filled, kChunk - filled);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return {.error = errno};
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    hasher.add({chunk.data(), filled});
  }
  return hasher.result();
}

}  // namespace dao::memory
