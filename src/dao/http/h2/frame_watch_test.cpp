#include "dao/http/h2/frame_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dao::http::h2 {
namespace {

class FrameWatchTest : public testing::Test {
 protected:
  FrameWatchTest() : watch(ServerLimits{}) {}
  // A window update for the stream and one for the connection. False: they were too many.
  bool update_windows() {
    for (const std::uint32_t stream : {0U, 1U}) {
      if (watch.see({.length = 4, .type = FrameType::window_update, .stream = stream}, now)) return false;
    }
    return true;
  }

  FrameWatch watch;
  Instant now{};
};

TEST_F(FrameWatchTest, WindowsMayBeGivenBackFrameByFrame) {
  // As it goes where a piece of ours ends within a window: 4 bytes, the rest, and so on for ever.
  for (int i = 0; i < 10'000; ++i) {
    for (const std::size_t bytes : {std::size_t{4}, std::size_t{4}, std::size_t{16'376}}) {
      watch.data_sent(bytes, false);
      ASSERT_TRUE(update_windows()) << i;
    }
  }
}

TEST_F(FrameWatchTest, WindowsMayNotBeOpenedByteByByte) {
  int served = 0;
  for (; served < 10'000 && update_windows(); ++served) watch.data_sent(1, false);
  EXPECT_LT(served, 600);
}

TEST_F(FrameWatchTest, SmallMessagesMayEachBeAnsweredByUpdates) {
  for (int i = 0; i < 10'000; ++i) {
    watch.data_sent(3, true);
    ASSERT_TRUE(update_windows()) << i;
  }
}

}  // namespace
}  // namespace dao::http::h2
