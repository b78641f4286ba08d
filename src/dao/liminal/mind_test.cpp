// The mind between workers' reports, gates and the View, in virtual time.
#include "dao/liminal/mind.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dao/base/log.h"
#include "dao/config/load.h"

namespace dao::liminal {
namespace {

using sense::Gate;
using sense::Outcome;
using sense::Presence;
using std::chrono_literals::operator""s;

constexpr std::uint32_t kRow = 3;

class MindTest : public testing::Test {
 protected:
  MindTest() { log::set_level(log::Level::error); }
  void start(int upstreams, const std::string& more = "") {
    std::string toml = more + "[[routes.rule]]\nname = \"r\"\n";
    for (int i = 0; i < upstreams; ++i) {
      const std::string number = std::to_string(i);
      toml += "[[routes.rule.upstreams]]\nname = \"u" + number +
              "\"\nurl = \"http://192.0.2.1:" + std::to_string(i + 1) + "\"\n";
    }
    auto loaded = config::load_text(toml, "x");
    ASSERT_TRUE(loaded) << loaded.error().front().message;
    config = std::make_shared<const config::Config>(std::move(loaded->config));
    const std::size_t count = config->upstreams.size();
    one = std::make_unique<sense::Shard>(1, count);
    two = std::make_unique<sense::Shard>(1, count);
    in_flight = std::make_unique<sense::InFlight>(count);
    admission = std::make_unique<sense::Admission>(count);
    restart();
  }
  void restart() {
    mind = std::make_unique<Mind>(
        config, Mind::Senses{.shards = {one.get(), two.get()}, .in_flight = *in_flight, .admission = *admission});
  }
  void report(sense::Shard& shard, std::uint32_t upstream, Outcome outcome) {
    sense::report_outcome(shard.upstream(upstream).outcomes, *admission, upstream, outcome, kRow);
  }
  sense::ViewPtr step() {
    now += kStepInterval;
    return mind->step(now);
  }

  Instant now{std::chrono::hours(1)};
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<sense::Shard> one;
  std::unique_ptr<sense::Shard> two;
  std::unique_ptr<sense::InFlight> in_flight;
  std::unique_ptr<sense::Admission> admission;
  std::unique_ptr<Mind> mind;
};

TEST_F(MindTest, FailuresOfSeveralWorkersAddUp) {
  start(2);
  report(*one, 0, Outcome::success);
  step();
  now += 5s;
  report(*one, 0, Outcome::transport);
  report(*two, 0, Outcome::transport);
  EXPECT_TRUE(admission->admits(0));
  report(*one, 0, Outcome::timeout);
  EXPECT_FALSE(admission->admits(0));
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[0].presence, Presence::absent);
  EXPECT_EQ(view->upstreams[0].presence_reason, "failures in a row");
  EXPECT_EQ(view->upstreams[0].gate, Gate::closed);
  EXPECT_STREQ(view->upstreams[0].figures.history.data(), ".XXT");
  EXPECT_EQ(view->upstreams[1].presence, Presence::unknown);
  EXPECT_FALSE(view->routes[0].fails_open);
}

TEST_F(MindTest, TheViewTellsWhenARouteFailsOpen) {
  start(2);
  report(*one, 0, Outcome::refused);
  report(*one, 1, Outcome::refused);
  EXPECT_TRUE(step()->routes[0].fails_open);
}

TEST_F(MindTest, AProbeAndATrialBringItBack) {
  start(1);
  report(*one, 0, Outcome::refused);
  step();
  const std::vector<DueProbe> due = mind->take_due_probes(now, 10);
  ASSERT_EQ(due.size(), 1U);
  EXPECT_TRUE(mind->take_due_probes(now, 10).empty()) << "one at a time";
  mind->probed(due.front(), ProbeOutcome::good, now);
  EXPECT_EQ(admission->gate(0), Gate::trial);
  ASSERT_TRUE(admission->enter(0));
  report(*two, 0, Outcome::success);
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[0].presence, Presence::present);
  EXPECT_EQ(view->upstreams[0].admitted_since, now);
  EXPECT_EQ(view->upstreams[0].figures.trials, 1U);
  EXPECT_EQ(admission->gate(0), Gate::open);
  EXPECT_EQ(admission->failures_in_a_row(0), 0U);
}

// With more absent upstreams than probes at once, each gets its turn.
TEST_F(MindTest, ProbesTakeTurns) {
  start(100);
  for (std::uint32_t i = 0; i < 100; ++i) report(*one, i, Outcome::refused);
  step();
  std::vector<int> probed(100);
  for (int round = 0; round < 10; ++round) {
    const std::vector<DueProbe> due = mind->take_due_probes(now, 10);
    ASSERT_EQ(due.size(), 10U);
    for (const DueProbe& probe : due) {
      ++probed[probe.upstream];
      mind->probed(probe, ProbeOutcome::refused, now);
    }
  }
  EXPECT_EQ(probed, std::vector<int>(100, 1));
}

TEST_F(MindTest, PresenceOutlivesTheMind) {
  start(2);
  report(*one, 0, Outcome::success);
  report(*one, 1, Outcome::refused);
  step();
  const auto well = mind->save_presence(0, now);
  const auto down = mind->save_presence(1, now);
  admission->set_gate(1, Gate::open);
  restart();
  mind->restore_presence(0, well, 1s, now);
  mind->restore_presence(1, down, 1s, now);
  EXPECT_FALSE(admission->admits(1)) << "before the first step";
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[0].presence, Presence::present);
  EXPECT_EQ(view->upstreams[1].presence, Presence::absent);
}

TEST_F(MindTest, WhoeverIsOffIsLeftAlone) {
  start(1, "[liminal.presence]\nenabled = false\n");
  for (int i = 0; i < 100; ++i) {
    sense::report_outcome(one->upstream(0).outcomes, *admission, 0, Outcome::refused, 0);
    step();
  }
  EXPECT_TRUE(admission->admits(0));
  EXPECT_TRUE(mind->take_due_probes(now, 10).empty());
}

}  // namespace
}  // namespace dao::liminal
