#include "dao/server/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "dao/sense/slots.h"

namespace dao::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::size_t kParties = 3;  // two workers and the mind

config::Upstream upstream(const std::string& name, const std::string& url = "http://192.0.2.1:80") {
  config::Upstream made;
  made.name = name;
  made.url.text = url;
  return made;
}

// A configuration with a rule for each of the names, and these upstreams.
config::Config config_of(std::vector<config::Upstream> upstreams, const std::vector<std::string>& rules = {"r"}) {
  config::Config config;
  config.upstreams = std::move(upstreams);
  for (const std::string& name : rules) config.rules.emplace_back().name = name;
  return config;
}

class RosterTest : public testing::Test {
 protected:
  // The numbers of its upstreams and rules.
  struct Numbered {
    std::vector<std::uint32_t> upstreams;
    std::vector<std::uint32_t> rules;
  };
  Numbered number(config::Config config) {
    EXPECT_TRUE(roster.number(config));
    Numbered numbered;
    for (const config::Upstream& upstream : config.upstreams) numbered.upstreams.push_back(upstream.number);
    for (const config::Rule& rule : config.rules) numbered.rules.push_back(rule.number);
    latest = std::make_shared<const config::Config>(std::move(config));
    return numbered;
  }
  Roster::Leaving keep() { return roster.keep({{latest}}); }
  Numbered use(config::Config config) {
    Numbered numbered = number(std::move(config));
    left = keep();
    return numbered;
  }
  void release(const Roster::Leaving& numbers, std::size_t parties = kParties) {
    for (std::size_t i = 0; i < parties; ++i) {
      roster.release_upstreams(numbers.upstreams);
      roster.release_rules(numbers.rules);
    }
  }

  Roster roster{kParties};
  std::shared_ptr<const config::Config> latest;
  Roster::Leaving left;
};

TEST_F(RosterTest, WhoStaysHasItsNumberInWhateverOrder) {
  EXPECT_THAT(use(config_of({upstream("a"), upstream("b"), upstream("c")}, {"r", "s"})).upstreams,
              ElementsAre(0, 1, 2));
  const Numbered again =
      use(config_of({upstream("new"), upstream("c"), upstream("a"), upstream("b")}, {"s", "t", "r"}));
  EXPECT_THAT(again.upstreams, ElementsAre(3, 2, 0, 1));
  EXPECT_THAT(again.rules, ElementsAre(1, 2, 0));
  EXPECT_THAT(left.upstreams, IsEmpty());
  EXPECT_THAT(left.rules, IsEmpty());
  EXPECT_EQ(roster.upstreams(), 4U);
  EXPECT_EQ(roster.rules(), 3U);
}

TEST_F(RosterTest, AnotherPlaceOrAnotherWayToTalkIsAnotherUpstream) {
  config::Upstream as_it_was = upstream("a");
  as_it_was.tls.verify = true;
  std::vector<config::Upstream> others(10, as_it_was);
  others[0].name = "b";
  others[1].url.text = "http://192.0.2.2:80";
  others[2].tls.ca = "/ca.pem";
  others[3].tls.server_name = "other.test";
  others[4].tls.cert = "/cert.pem";
  others[5].tls.key = "/key.pem";
  others[6].tls.verify = false;
  others[7].tls.protocols.h1 = !as_it_was.tls.protocols.h1;
  others[8].tls.protocols.h2 = !as_it_was.tls.protocols.h2;
  others[9].proxy_protocol = config::ProxyAnnouncement::v2;
  for (const config::Upstream& other : others) {
    const std::uint32_t number = use(config_of({as_it_was})).upstreams.front();
    EXPECT_NE(use(config_of({other})).upstreams.front(), number) << &other - others.data();
    EXPECT_THAT(left.upstreams, ElementsAre(number));
  }
}

TEST_F(RosterTest, WhatMayChangeLeavesTheNumber) {
  use(config_of({upstream("a")}));
  config::Upstream changed = upstream("a");
  changed.zone = "elsewhere";
  changed.probe.type = config::ProbeType::http;
  config::Config config = config_of({changed});
  config.rules.front().policy.kind = config::Policy::random;
  config.rules.front().filters.request_body_max_bytes = 1;
  const Numbered numbered = use(std::move(config));
  EXPECT_THAT(numbered.upstreams, ElementsAre(0));
  EXPECT_THAT(numbered.rules, ElementsAre(0));
}

TEST_F(RosterTest, ANumberIsUsedAnewOnlyAfterEverybodyHasReleasedIt) {
  use(config_of({upstream("a"), upstream("b")}, {"r", "s"}));
  use(config_of({upstream("b")}, {"s"}));
  const Roster::Leaving leaving = left;
  EXPECT_THAT(leaving.upstreams, ElementsAre(0));
  EXPECT_THAT(leaving.rules, ElementsAre(0));
  release(leaving, kParties - 1);
  const Numbered early = use(config_of({upstream("b"), upstream("c")}, {"s", "t"}));
  EXPECT_THAT(early.upstreams, ElementsAre(1, 2));
  EXPECT_THAT(early.rules, ElementsAre(1, 2));
  release(leaving, 1);
  const Numbered late = use(config_of({upstream("b"), upstream("c"), upstream("d")}, {"s", "t", "u"}));
  EXPECT_THAT(late.upstreams, ElementsAre(1, 2, 0));
  EXPECT_THAT(late.rules, ElementsAre(1, 2, 0));
  EXPECT_EQ(roster.upstreams(), 3U);
}

TEST_F(RosterTest, WhoComesBackBeforeItsNumberIsFreeGetsAnother) {
  use(config_of({upstream("a")}));
  use(config_of({upstream("b")}));
  const Roster::Leaving first = left;
  EXPECT_THAT(use(config_of({upstream("a"), upstream("b")})).upstreams, ElementsAre(2, 1));
  release(first);
  EXPECT_THAT(use(config_of({upstream("a"), upstream("b"), upstream("c")})).upstreams, ElementsAre(2, 1, 0));
}

TEST_F(RosterTest, WhatIsGivenUpWasNeverThere) {
  use(config_of({upstream("a")}));
  EXPECT_THAT(number(config_of({upstream("b"), upstream("a"), upstream("c")}, {"x"})).upstreams, ElementsAre(1, 0, 2));
  EXPECT_THAT(roster.added_upstreams(), ElementsAre(1, 2));
  roster.give_up();
  EXPECT_THAT(roster.added_upstreams(), IsEmpty());
  EXPECT_THAT(number(config_of({upstream("a"), upstream("d"), upstream("e")})).upstreams,
              ElementsAre(0, testing::AnyOf(1, 2), testing::AnyOf(1, 2)));
  EXPECT_THAT(keep().upstreams, IsEmpty());
  EXPECT_EQ(roster.upstreams(), 3U);
}

TEST_F(RosterTest, ConfigurationsThatAreUsedSideBySideKeepTheirNumbers) {
  number(config_of({upstream("a"), upstream("b")}, {"r"}));
  const auto first = latest;
  keep();
  number(config_of({upstream("b"), upstream("c")}, {"s"}));
  const Roster::Leaving nobody = roster.keep({{latest, first}});
  EXPECT_THAT(nobody.upstreams, IsEmpty());
  EXPECT_THAT(nobody.rules, IsEmpty());
  const Roster::Leaving leaving = roster.keep({{latest}});
  EXPECT_THAT(leaving.upstreams, ElementsAre(0));
  EXPECT_THAT(leaving.rules, ElementsAre(0));
}

TEST_F(RosterTest, AThousandReloadsNeedNoMoreNumbersThanTwoConfigurations) {
  for (int i = 0; i < 1000; ++i) {
    const std::string name = std::to_string(i);
    use(config_of({upstream("stays"), upstream(name)}, {"stays", name}));
    release(left);
  }
  EXPECT_LE(roster.upstreams(), 4U);
  EXPECT_LE(roster.rules(), 4U);
}

TEST_F(RosterTest, MoreThanThereAreNumbersForIsRefusedAndChangesNothing) {
  const auto many = [](std::size_t count, char first) {
    std::vector<config::Upstream> upstreams;
    for (std::size_t i = 0; i < count; ++i) upstreams.push_back(upstream(first + std::to_string(i)));
    return config_of(std::move(upstreams));
  };
  config::Config too_many = many(sense::kMostNumbers + 1, 'a');
  EXPECT_FALSE(roster.number(too_many));
  use(many(sense::kMostNumbers, 'a'));
  config::Config others = many(1, 'b');
  EXPECT_FALSE(roster.number(others)) << "all numbers are taken";
  EXPECT_THAT(roster.added_upstreams(), IsEmpty());
  use(many(1, 'a'));
  release(left);
  EXPECT_TRUE(roster.number(others));
}

}  // namespace
}  // namespace dao::server
