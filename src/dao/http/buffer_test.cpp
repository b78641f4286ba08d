// Read buffers: room, growth, and the promise of pin() that views stay where they are.
#include "dao/http/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace dao::http {
namespace {

void put(Buffer& buffer, std::string_view text, std::size_t at_most = BufferPool::kLarge) {
  while (!text.empty()) {
    const std::span<char> room = buffer.room(at_most);
    ASSERT_FALSE(room.empty());
    const std::size_t count = std::min(room.size(), text.size());
    std::copy_n(text.data(), count, room.data());
    buffer.filled(count);
    text.remove_prefix(count);
  }
}

TEST(Buffer, HoldsNothingUntilRoomIsAskedFor) {
  BufferPool pool;
  Buffer buffer(pool);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(pool.in_use(), 0U);
  EXPECT_EQ(buffer.room(BufferPool::kLarge).size(), BufferPool::kSmall);
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall);
  buffer.drop();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(Buffer, ReusesBlocks) {
  BufferPool pool;
  char* first = pool.acquire(BufferPool::kSmall);
  pool.release(first, BufferPool::kSmall);
  char* second = pool.acquire(BufferPool::kSmall);
  EXPECT_EQ(first, second);
  char* odd = pool.acquire(12345);
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall + 12345);
  pool.release(odd, 12345);
  pool.release(second, BufferPool::kSmall);
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST(Buffer, StartsAgainAtTheFrontWhenAllIsConsumed) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, "hello");
  const char* front = buffer.content().data();
  buffer.consume(5);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.room(BufferPool::kSmall).data(), front);
}

TEST(Buffer, MovesContentToTheFrontBeforeItGrows) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, std::string(BufferPool::kSmall, 'a'));
  buffer.consume(BufferPool::kSmall - 3);
  EXPECT_EQ(buffer.room(BufferPool::kLarge).size(), BufferPool::kSmall - 3);
  EXPECT_EQ(buffer.content(), "aaa");
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall);
}

TEST(Buffer, GrowsUpToWhatIsAllowedAndNoFurther) {
  BufferPool pool;
  Buffer buffer(pool);
  constexpr std::size_t kMost = BufferPool::kSmall + 1000;
  put(buffer, std::string(BufferPool::kSmall, 'a') + std::string(1000, 'b'), kMost);
  EXPECT_EQ(buffer.content().size(), kMost);
  EXPECT_EQ(buffer.content().substr(BufferPool::kSmall - 1, 2), "ab");
  EXPECT_TRUE(buffer.room(kMost).empty());
  EXPECT_LE(pool.in_use(), 2 * BufferPool::kSmall);
}

TEST(Buffer, RoomNeverGoesBeyondWhatIsAllowed) {
  BufferPool pool;
  Buffer buffer(pool);
  EXPECT_EQ(buffer.room(100).size(), 100U);
  put(buffer, "abc");
  EXPECT_EQ(buffer.room(100).size(), 97U);
}

TEST(Buffer, PinnedBytesStayWhileReadingGoesOnInTheBlock) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, "headbody");
  const std::string_view head = buffer.content().substr(0, 4);
  buffer.pin();
  buffer.consume(8);
  EXPECT_TRUE(buffer.empty());
  put(buffer, "more");
  EXPECT_EQ(head, "head");
  EXPECT_EQ(buffer.content(), "more");
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall) << "there was room left behind the head";
}

TEST(Buffer, PinnedBytesStayWhenReadingMovesToAnotherBlock) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, "head" + std::string(BufferPool::kSmall - 10, 'x'));
  const std::string_view head = buffer.content().substr(0, 4);
  buffer.pin();
  buffer.consume(BufferPool::kSmall - 16);  // ten bytes are still to be read
  put(buffer, "more");
  EXPECT_EQ(head, "head");
  EXPECT_EQ(buffer.content(), "xxxxxxxxxxmore");
  EXPECT_EQ(pool.in_use(), 2 * BufferPool::kSmall);
  buffer.unpin();
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall) << "the pinned block went back";
  EXPECT_EQ(buffer.content(), "xxxxxxxxxxmore");
}

TEST(Buffer, LeavingAPinnedFullBlockKeepsAllContent) {
  BufferPool pool;
  Buffer buffer(pool);
  const std::string all = std::string(BufferPool::kSmall / 2, 'a') + std::string(BufferPool::kSmall / 2, 'b');
  put(buffer, all);
  const std::string_view view = buffer.content();
  buffer.pin();
  put(buffer, "c");
  EXPECT_EQ(buffer.content(), all + "c");
  EXPECT_EQ(view, all);
}

TEST(Buffer, AnotherBlockThanThePinnedOneIsUsedFromItsFrontAgain) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, std::string(BufferPool::kSmall, 'h'));
  buffer.pin();
  buffer.consume(BufferPool::kSmall);
  put(buffer, std::string(BufferPool::kSmall - 1, 'b'));
  buffer.consume(BufferPool::kSmall - 1);
  EXPECT_EQ(buffer.room(BufferPool::kLarge).size(), BufferPool::kSmall) << "not the one byte at the end";
}

TEST(Buffer, EnlargeTakesALargeBlockForAnEmptyBufferOnly) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, "x");
  buffer.enlarge();
  EXPECT_EQ(buffer.capacity(), BufferPool::kSmall);
  EXPECT_EQ(buffer.content(), "x");
  buffer.consume(1);
  buffer.enlarge();
  EXPECT_EQ(buffer.capacity(), BufferPool::kLarge);
  EXPECT_EQ(pool.in_use(), BufferPool::kLarge);
  EXPECT_EQ(buffer.room(BufferPool::kLarge).size(), BufferPool::kLarge);
}

TEST(Buffer, EnlargeKeepsThePinnedBlock) {
  BufferPool pool;
  Buffer buffer(pool);
  put(buffer, "head");
  const std::string_view head = buffer.content();
  buffer.pin();
  buffer.consume(4);
  buffer.enlarge();
  put(buffer, std::string(BufferPool::kLarge, 'b'));
  EXPECT_EQ(head, "head");
  EXPECT_EQ(pool.in_use(), BufferPool::kSmall + BufferPool::kLarge);
  buffer.unpin();
  EXPECT_EQ(pool.in_use(), BufferPool::kLarge);
}

TEST(Buffer, GivesEverythingBackAtTheEnd) {
  BufferPool pool;
  {
    Buffer buffer(pool);
    put(buffer, std::string(BufferPool::kSmall, 'h'));
    buffer.pin();
    put(buffer, "x");
    EXPECT_EQ(pool.in_use(), 3 * BufferPool::kSmall) << "the pinned block and one twice the content";
    const ScratchBlock scratch(pool, 10);
    EXPECT_EQ(pool.in_use(), 4 * BufferPool::kSmall);
  }
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace dao::http
