#include "dao/memory/file_content.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <set>

#include "dao/memory/temporary_folder.h"

namespace dao::memory {
namespace {

TEST(FileContent, WhatWasReadIsWhatTheTextIs) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0UL, 1UL, 7UL, 8UL, 9UL, 65535UL, 65536UL, 65537UL, 200'000UL}) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 23);
    folder.write("x", text);
    EXPECT_EQ(read_content(folder / "x"), content_of(text)) << size;
    EXPECT_EQ(content_of(text).size, size);
  }
}

TEST(FileContent, OtherTextsAreOther) {
  std::set<std::uint64_t> hashes;
  std::string text(100, 'x');
  hashes.insert(content_of(text).hash);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string other = text;
    other[i] = 'y';
    hashes.insert(content_of(other).hash);
  }
  hashes.insert(content_of("ab").hash);
  hashes.insert(content_of("ba").hash);
  EXPECT_EQ(hashes.size(), 103U);
  EXPECT_NE(content_of(""), content_of(std::string(1, '\0'))) << "by its size";
}

TEST(FileContent, WhatCannotBeReadSaysWhy) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_content(folder / "none").error, ENOENT);
  EXPECT_EQ(read_content(folder.path()).error, EINVAL);
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_content(folder / "fifo").error, EINVAL) << "and nobody waits for a writer";
}

}  // namespace
}  // namespace dao::memory
