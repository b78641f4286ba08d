#include "dao/memory/sqlite_schema.h"

#include <gtest/gtest.h>

#include <array>

#include "dao/memory/store_test_files.h"

namespace dao::memory {
namespace {

class Migrate : public testing::Test {
 protected:
  TestDirectory directory;
  SqliteConnection connection =
      SqliteConnection::open(directory.file("x.db"), SqliteConnection::Use::write, Milliseconds{0}).value();
  static constexpr std::array<std::string_view, 3> kSteps = {"CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)",
                                                             "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 8",
                                                             "UPDATE a SET x = x + 1; CREATE TABLE b (z)"};
};

TEST_F(Migrate, TakesOnlyTheStepsThatAreMissing) {
  ASSERT_TRUE(migrate(connection, std::span(kSteps).first(1)));
  EXPECT_EQ(connection.integer("PRAGMA user_version"), 1);
  EXPECT_EQ(connection.integer("PRAGMA application_id"), kApplicationId);
  ASSERT_TRUE(migrate(connection, kSteps));
  EXPECT_EQ(connection.integer("PRAGMA user_version"), 3);
  EXPECT_EQ(connection.integer("SELECT x FROM a"), 8);
  EXPECT_EQ(connection.integer("SELECT y FROM a"), 8);
  ASSERT_TRUE(migrate(connection, kSteps)) << "again";
  EXPECT_EQ(connection.integer("SELECT x FROM a"), 8);
}

TEST_F(Migrate, AStepThatFailsLeavesAllAsItWas) {
  ASSERT_TRUE(migrate(connection, std::span(kSteps).first(1)));
  const std::array<std::string_view, 3> broken = {kSteps[0], kSteps[1], "UPDATE nowhere SET x = 1"};
  EXPECT_FALSE(migrate(connection, broken));
  EXPECT_FALSE(connection.in_transaction());
  EXPECT_EQ(connection.integer("PRAGMA user_version"), 1);
  EXPECT_FALSE(connection.integer("SELECT y FROM a"));
}

TEST_F(Migrate, ANewerDatabaseIsRefused) {
  ASSERT_TRUE(migrate(connection, kSteps));
  const auto refused = migrate(connection, std::span(kSteps).first(2));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text, "it was written by a newer DAO (schema version 3, this one knows 2)");
}

}  // namespace
}  // namespace dao::memory
