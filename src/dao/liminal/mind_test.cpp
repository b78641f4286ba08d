// The mind between workers' reports, gates and the View, in virtual time.
#include "dao/liminal/mind.h"

#include <gtest/gtest.h>

#include <algorithm>
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

// More upstreams than are looked at in turn. Those of which nothing is heard rest; whatever happens to one that rests
// is in the very next View, by whichever sign: attempts that a worker told of, failures in a row, a closed gate.
TEST_F(MindTest, WhoeverRestsIsSeenAgainAtOnce) {
  start(2000);
  for (std::uint32_t i = 0; i < 2000; ++i) report(*one, i, Outcome::success);
  for (int i = 0; i < 20; ++i) step();
  for (const std::uint32_t upstream : {3U, 700U, 1999U}) {
    SCOPED_TRACE(upstream);
    EXPECT_EQ(step()->upstreams[upstream].presence, Presence::present);
    report(*two, upstream, Outcome::refused);
    EXPECT_EQ(step()->upstreams[upstream].presence, Presence::absent);
    EXPECT_EQ(step()->upstreams[upstream == 3U ? 4 : 3].presence,
              upstream == 3U ? Presence::present : Presence::absent);
  }
}

// And by time alone after a while: what was heard of long ago is forgotten of those that rest, too.
TEST_F(MindTest, WhoeverRestsIsForgottenInTime) {
  start(2000);
  for (std::uint32_t i = 0; i < 2000; ++i) report(*one, i, Outcome::success);
  step();
  now += std::chrono::minutes(30);
  sense::ViewPtr view;
  for (int i = 0; i < 10; ++i) view = step();
  for (const sense::UpstreamView& upstream : view->upstreams) EXPECT_EQ(upstream.presence, Presence::unknown);
}

TEST_F(MindTest, AViewThatIsHeldStaysAsItIsAndOneThatIsNotIsFilledAnew) {
  start(2);
  report(*one, 0, Outcome::success);
  step();
  const sense::ViewPtr held = step();
  const sense::View before = *held;
  report(*one, 0, Outcome::refused);
  std::vector<const sense::View*> memory;
  for (int i = 0; i < 10; ++i) {
    const sense::ViewPtr view = step();
    EXPECT_NE(view.get(), held.get());
    EXPECT_EQ(view->number, before.number + 1 + static_cast<std::uint64_t>(i));
    EXPECT_EQ(view->upstreams[0].presence, Presence::absent);
    memory.push_back(view.get());
  }
  EXPECT_EQ(held->number, before.number);
  EXPECT_EQ(held->upstreams[0].presence, Presence::present);
  std::ranges::sort(memory);
  EXPECT_LE(std::ranges::unique(memory).begin() - memory.begin(), 3) << "the memory of ten Views";
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

// The presence of who stays, over a configuration in which others come and go; and what a number remembers of nobody.
class MindReconfigureTest : public MindTest {
 protected:
  // A configuration with these upstreams, by name and number. Its rule has the number 0.
  std::shared_ptr<const config::Config> with(const std::vector<std::pair<std::string, std::uint32_t>>& upstreams,
                                             const std::string& more = "") {
    std::string toml = more + "[[routes.rule]]\nname = \"r\"\n";
    for (const auto& [name, number] : upstreams) {
      toml += "[[routes.rule.upstreams]]\nname = \"" + name + "\"\nurl = \"http://192.0.2.1:80\"\n";
    }
    auto loaded = config::load_text(toml, "x");
    EXPECT_TRUE(loaded) << loaded.error().front().message;
    auto made = std::make_shared<config::Config>(std::move(loaded->config));
    for (std::size_t i = 0; i < upstreams.size(); ++i) made->upstreams[i].number = upstreams[i].second;
    return made;
  }
  void grow(std::size_t upstreams) {
    one->grow(1, upstreams);
    two->grow(1, upstreams);
    in_flight->grow(upstreams);
    admission->grow(upstreams);
  }
  // As everybody who has let go of a number does it.
  void forget(std::uint32_t upstream) {
    one->forget_upstream(upstream);
    two->forget_upstream(upstream);
    admission->forget(upstream);
  }
};

TEST_F(MindReconfigureTest, WhoStaysIsAsPresentAsBefore) {
  start(2);
  report(*one, 0, Outcome::success);
  report(*one, 1, Outcome::refused);
  const sense::ViewPtr before = step();
  ASSERT_EQ(before->upstreams[1].presence, Presence::absent);
  const Instant since = before->upstreams[1].presence_since;
  grow(3);
  mind->reconfigure({with({{"new", 2}, {"u1", 1}, {"u0", 0}})}, now);
  EXPECT_EQ(admission->gate(1), Gate::closed);
  const sense::ViewPtr view = step();
  ASSERT_EQ(view->upstreams.size(), 3U);
  EXPECT_EQ(view->upstreams[0].presence, Presence::present);
  EXPECT_STREQ(view->upstreams[0].figures.history.data(), before->upstreams[0].figures.history.data());
  EXPECT_EQ(view->upstreams[1].presence, Presence::absent);
  EXPECT_EQ(view->upstreams[1].presence_since, since);
  EXPECT_EQ(view->upstreams[1].figures.entered[static_cast<std::size_t>(Presence::absent)], 1U) << "once";
  EXPECT_EQ(view->upstreams[2].presence, Presence::unknown);
  EXPECT_NE(view->upstreams[2].admitted_since, Instant{}) << "it joined: its slow start begins";
  EXPECT_EQ(view->upstreams[0].admitted_since, Instant{});
}

TEST_F(MindReconfigureTest, ANumberOfAnotherBeginsWithNothing) {
  start(2);
  for (int i = 0; i < 3; ++i) report(*two, 1, Outcome::refused);
  ASSERT_EQ(step()->upstreams[1].presence, Presence::absent);
  mind->reconfigure({with({{"u0", 0}})}, now);
  EXPECT_EQ(step()->upstreams[1].presence, Presence::unknown) << "nobody";
  forget(1);
  mind->reconfigure({with({{"u0", 0}, {"another", 1}})}, now);
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[1].presence, Presence::unknown);
  EXPECT_EQ(view->upstreams[1].figures.entered[static_cast<std::size_t>(Presence::absent)], 0U);
  EXPECT_STREQ(view->upstreams[1].figures.history.data(), "");
  EXPECT_TRUE(admission->admits(1));
  report(*one, 1, Outcome::success);
  EXPECT_EQ(step()->upstreams[1].presence, Presence::present);
}

TEST_F(MindReconfigureTest, ALateProbeOfTheFormerOwnerChangesNothing) {
  start(2);
  report(*one, 1, Outcome::refused);
  step();
  const std::vector<DueProbe> due = mind->take_due_probes(now, 10);
  ASSERT_EQ(due.size(), 1U);
  mind->reconfigure({with({{"u0", 0}})}, now);
  mind->probed(due.front(), ProbeOutcome::refused, now);  // nobody
  forget(1);
  mind->reconfigure({with({{"u0", 0}, {"another", 1}})}, now);
  for (int i = 0; i < 10; ++i) mind->probed(due.front(), ProbeOutcome::refused, now);
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[1].presence, Presence::unknown);
  EXPECT_EQ(view->upstreams[1].figures.probes_failed, 0U);
  EXPECT_TRUE(admission->admits(1));
}

TEST_F(MindReconfigureTest, AProbeOfWhoStaysCountsAlthoughItBeganBefore) {
  start(2);
  report(*one, 1, Outcome::refused);
  step();
  const std::vector<DueProbe> due = mind->take_due_probes(now, 10);
  ASSERT_EQ(due.size(), 1U);
  mind->reconfigure({with({{"u1", 1}})}, now);
  mind->probed(due.front(), ProbeOutcome::good, now);
  EXPECT_EQ(admission->gate(1), Gate::trial);
}

TEST_F(MindReconfigureTest, BeforeTheFirstStepItIsJustTheConfiguration) {
  start(1);
  grow(2);
  mind->reconfigure({with({{"u0", 0}, {"new", 1}})}, now);
  report(*one, 1, Outcome::success);
  const sense::ViewPtr view = step();
  EXPECT_EQ(view->upstreams[1].presence, Presence::present);
  EXPECT_EQ(view->upstreams[1].admitted_since, Instant{}) << "it did not join: it was there from the start";
}

TEST_F(MindReconfigureTest, PresenceThatIsSwitchedOffLetsEverybodyIn) {
  start(1);
  report(*one, 0, Outcome::refused);
  step();
  ASSERT_FALSE(admission->admits(0));
  const std::string off = "[liminal.presence]\nenabled = false\n";
  mind->reconfigure({with({{"u0", 0}}, off)}, now);
  EXPECT_TRUE(admission->admits(0));
  EXPECT_TRUE(mind->take_due_probes(now, 10).empty());
  mind->reconfigure({with({{"u0", 0}})}, now);
  step();
  EXPECT_TRUE(admission->admits(0)) << "what was heard before does not count any more";
  report(*one, 0, Outcome::refused);
  EXPECT_EQ(step()->upstreams[0].presence, Presence::absent);
}

TEST_F(MindReconfigureTest, TheNewSettingsCountFromNowOn) {
  start(1, "[liminal.presence]\nfailures = 100\n");
  for (int i = 0; i < 2; ++i) report(*one, 0, Outcome::timeout);
  EXPECT_NE(step()->upstreams[0].presence, Presence::absent);
  const std::string probed = "[liminal.presence]\nfailures = 100\n";
  auto config = std::make_shared<config::Config>(*with({{"u0", 0}}, probed));
  config->upstreams[0].probe.type = config::ProbeType::tcp;
  mind->reconfigure({config}, now);
  const std::vector<DueProbe> due = mind->take_due_probes(now, 10);
  ASSERT_EQ(due.size(), 1U) << "a probe that was configured begins at once";
  EXPECT_EQ(due.front().type, config::ProbeType::tcp);
  EXPECT_EQ(due.front().settings->name, "u0");
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
