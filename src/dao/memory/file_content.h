// What a file holds, as a hash: to tell whether it is another text than before. Not against somebody who looks for two
// texts of one hash. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dao::memory {

struct FileContent {
  int error = 0;  // errno, if it cannot be read (ENOENT: it is not there); then nothing else is said
  std::uint64_t size = 0;
  std::uint64_t hash = 0;

  friend bool operator==(const FileContent&, const FileContent&) = default;
};

// Of a text that was read from a file.
[[nodiscard]] FileContent content_of(std::string_view text);
// Reads the file. What is no regular file has the error EINVAL; no FIFO makes this wait.
[[nodiscard]] FileContent read_content(const std::string& path);

}  // namespace dao::memory
