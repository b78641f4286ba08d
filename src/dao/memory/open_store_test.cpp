#include "dao/memory/open_store.h"

#include <gtest/gtest.h>

#include "dao/memory/captured_log.h"
#include "dao/memory/store_test_files.h"

namespace dao::memory {
namespace {

class OpenStore : public testing::Test {
 protected:
  TestDirectory directory;
  const SystemClock clock;
  CapturedLog captured{directory.file("log")};
};

TEST_F(OpenStore, TheDefaultPath) {
  const std::string system = directory.file("system");
  const std::string user = directory.file("user");
  EXPECT_EQ(default_path({.given = "/given", .system = system, .user = user}), "/given/dao.db");
  EXPECT_EQ(default_path({.given = "", .system = system, .user = user}), system + "/dao.db") << "it can be made";
  EXPECT_EQ(default_path({.given = "", .system = "/proc/dao", .user = user}), user + "/dao.db");
  EXPECT_EQ(default_path({.given = "", .system = "/proc/dao", .user = ""}), "");
}

TEST_F(OpenStore, OffIsInMemoryWithoutAWord) {
  const auto store = open_store({.off = true, .path = {}}, clock, false);
  EXPECT_EQ(store->status().kind, "memory");
  EXPECT_EQ(store->status().why_in_memory, "");
  EXPECT_EQ(captured.text(), "");
}

TEST_F(OpenStore, APathIsTaken) {
  const auto store = open_store({.path = directory.file("a.db")}, clock, false);
  EXPECT_EQ(store->status().kind, "sqlite");
  EXPECT_EQ(store->status().path, directory.file("a.db"));
  EXPECT_EQ(captured.text(), "");
}

TEST_F(OpenStore, WhatCannotBeHadIsSaidOnce) {
  const auto store = open_store({.path = "/proc/dao/x.db"}, clock, false);
  EXPECT_EQ(store->status().kind, "memory");
  EXPECT_NE(store->status().why_in_memory, "");
  EXPECT_EQ(captured.count("warning the store cannot be used"), 1U);
  EXPECT_EQ(captured.count("path=/proc/dao/x.db"), 1U);
  const auto nowhere = open_store({.path = {}}, clock, false, {.given = "", .system = "/proc/dao", .user = ""});
  EXPECT_EQ(nowhere->status().why_in_memory, "there is no directory to keep anything in");
}

}  // namespace
}  // namespace dao::memory
