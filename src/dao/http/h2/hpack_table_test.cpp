#include "dao/http/h2/hpack_table.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "dao/http/h2/hpack_static_table.h"

namespace dao::http::h2 {
namespace {

using Texts = std::vector<std::pair<std::string, std::string>>;

// Newest first.
Texts contents(const HpackTable& table) {
  Texts texts;
  for (std::uint32_t age = 0; age < table.count(); ++age) {
    const HpackTable::Entry& entry = table.entry(age);
    texts.emplace_back(table.name(entry), table.value(entry));
  }
  return texts;
}

TEST(HpackTable, HoldsNothingBeforeTheFirstEntry) {
  const HpackTable table(4096);
  EXPECT_EQ(table.count(), 0U);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.memory(), 0U);
}

TEST(HpackTable, NewestFirst) {
  HpackTable table(4096);
  EXPECT_TRUE(table.insert("first", "1", 11));
  EXPECT_TRUE(table.insert("second", "22", 22));
  EXPECT_EQ(contents(table), (Texts{{"second", "22"}, {"first", "1"}}));
  EXPECT_EQ(table.entry(0).note, 22U);
  EXPECT_EQ(table.entry(1).note, 11U);
  EXPECT_EQ(table.size(), 5 + 1 + 32 + 6 + 2 + 32U);
}

TEST(HpackTable, TheOldestGiveWay) {
  HpackTable table(100);  // two entries of 50 bytes
  table.insert("aaaaaaaaa", "111111111", 0);
  table.insert("bbbbbbbbb", "222222222", 0);
  EXPECT_EQ(table.size(), 100U);
  table.insert("ccccccccc", "333333333", 0);
  EXPECT_EQ(contents(table), (Texts{{"ccccccccc", "333333333"}, {"bbbbbbbbb", "222222222"}}));
  table.insert("ddddddddd", "4444444440", 0);  // one byte more: nothing fits beside it
  EXPECT_EQ(contents(table), (Texts{{"ddddddddd", "4444444440"}}));
}

TEST(HpackTable, AnEntryAsLargeAsTheTableFits) {
  HpackTable table(50);
  EXPECT_TRUE(table.insert("aaaaaaaaa", "111111111", 0));
  EXPECT_EQ(table.size(), 50U);
}

TEST(HpackTable, ALargerOneEmptiesIt) {
  HpackTable table(50);
  table.insert("a", "1", 0);
  EXPECT_FALSE(table.insert("aaaaaaaaa", "1111111111", 0));
  EXPECT_EQ(table.count(), 0U);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_TRUE(table.insert("b", "2", 0));
  EXPECT_EQ(contents(table), (Texts{{"b", "2"}}));
}

TEST(HpackTable, TheNameOfAnEntryThatGivesWayMayBeInserted) {
  HpackTable table(100);
  table.insert("a-name-that-is-long-enough", "1", 0);
  for (int i = 0; i < 50; ++i) {
    // Each drives out the one before, also when text moves.
    const std::string value = fmt::format("{:030}", i);
    ASSERT_TRUE(table.insert(table.name(table.entry(0)), value, 0));
    ASSERT_EQ(contents(table), (Texts{{"a-name-that-is-long-enough", value}}));
  }
}

TEST(HpackTable, ViewsStayWhenNothingFits) {
  HpackTable table(60);
  table.insert("a-name", "value", 0);
  const std::string_view name = table.name(table.entry(0));
  EXPECT_FALSE(table.insert(name, std::string(60, 'v'), 0));
  EXPECT_EQ(name, "a-name");
}

TEST(HpackTable, ASmallerLimitKeepsTheNewest) {
  HpackTable table(4096);
  for (int i = 0; i < 50; ++i) table.insert(fmt::format("{:09}", i), "123456789", 0);
  table.set_limit(120);
  EXPECT_EQ(contents(table), (Texts{{"000000049", "123456789"}, {"000000048", "123456789"}}));
  EXPECT_LE(table.memory(), 2 * 120 + 64 * sizeof(HpackTable::Entry));
  table.set_limit(4096);
  EXPECT_EQ(table.count(), 2U);
  for (int i = 0; i < 100; ++i) table.insert(fmt::format("{:09}", i), "123456789", 0);
  EXPECT_EQ(table.count(), 81U);
}

TEST(HpackTable, ALimitOfNothingGivesMemoryBack) {
  HpackTable table(4096);
  table.insert("name", "value", 0);
  EXPECT_GT(table.memory(), 0U);
  table.set_limit(0);
  EXPECT_EQ(table.memory(), 0U);
  EXPECT_EQ(table.count(), 0U);
  EXPECT_FALSE(table.insert("", "", 0));
  table.set_limit(32);
  EXPECT_TRUE(table.insert("", "", 0));
  EXPECT_EQ(contents(table), (Texts{{"", ""}}));
}

TEST(HpackTable, MemoryStaysWithinTwiceTheLimit) {
  std::mt19937 random(3);
  for (const std::uint32_t limit : {100U, 300U, 1000U, 4096U, 65536U}) {
    HpackTable table(limit);
    for (int i = 0; i < 5000; ++i) {
      table.insert(std::string(random() % 40, 'n'), std::string(random() % 100, 'v'), 0);
      // So many entries fit when they have no text.
      const std::size_t ring = 2 * std::max(limit / HpackTable::kEntryOverhead, 16U) * sizeof(HpackTable::Entry);
      ASSERT_LE(table.memory(), 2 * limit + ring);
    }
  }
}

TEST(HpackTable, LikeAListThatIsCutAtItsEnd) {
  std::mt19937 random(5);
  HpackTable table(500);
  std::deque<std::pair<std::string, std::string>> list;
  std::uint32_t limit = 500;
  const auto cut = [&](std::size_t most) {
    const auto size = [&] {
      std::size_t sum = 0;
      for (const auto& [name, value] : list) sum += name.size() + value.size() + 32;
      return sum;
    };
    while (size() > most) list.pop_back();
  };
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 20 == 0) {
      limit = random() % 3 == 0 ? 500 : random() % 700;
      table.set_limit(limit);
      cut(limit);
    }
    std::string name(random() % 30, static_cast<char>('a' + random() % 26));
    std::string value(random() % (random() % 10 == 0 ? 600 : 60), static_cast<char>('a' + random() % 26));
    const std::size_t size = name.size() + value.size() + 32;
    ASSERT_EQ(table.insert(name, value, 0), size <= limit);
    cut(size <= limit ? limit - size : 0);
    if (size <= limit) list.emplace_front(std::move(name), std::move(value));
    ASSERT_EQ(contents(table), Texts(list.begin(), list.end())) << i;
  }
}

TEST(HpackStaticTable, FirstOfEachName) {
  EXPECT_EQ(hpack_static_name(":authority"), 1);
  EXPECT_EQ(hpack_static_name(":method"), 2);
  EXPECT_EQ(hpack_static_name("www-authenticate"), 61);
  EXPECT_EQ(kHpackFirstOfName[3], 2);
  EXPECT_EQ(kHpackFirstOfName[14], 8);
  EXPECT_EQ(kHpackFirstOfName[15], 15);
  EXPECT_EQ(kHpackStaticTable[61].name, "www-authenticate");
  EXPECT_EQ(kHpackStaticTable[16].value, "gzip, deflate");
}

}  // namespace
}  // namespace dao::http::h2
