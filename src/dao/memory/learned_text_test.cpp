#include "dao/memory/learned_text.h"

#include <gtest/gtest.h>

#include <string>

namespace dao::memory {
namespace {

using Detector = liminal::PresenceDetector;
using std::chrono_literals::operator""ms;

Detector::State some_state() {
  Detector::State state{.presence = sense::Presence::liminal,
                        .cause = Detector::Cause::traffic,
                        .kept_away = true,
                        .in_this_state = 1500ms,
                        .since_success = 20ms};
  for (const char sign : std::string(".ETXR")) state.history[state.entries++] = Detector::entry_of(sign).value();
  state.history[state.entries++] = {.good = 0.75F, .bad = 0.1F, .sign = '7'};
  state.history[state.entries++] = {.good = 0.0F, .bad = 2.5F, .sign = '0'};
  return state;
}

TEST(LearnedText, PresenceComesBackAsItWas) {
  const Detector::State state = some_state();
  const std::string text = to_text(state);
  EXPECT_EQ(text,
            R"({"v":1,"presence":"liminal","cause":"traffic","away":true,"in_state_ms":1500,"since_success_ms":20,)"
            R"("history":".ETXR70","means":[[0.75,0.1],[0,2.5]]})");
  const auto back = presence_of_text(text);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->presence, state.presence);
  EXPECT_EQ(back->cause, state.cause);
  EXPECT_TRUE(back->kept_away);
  EXPECT_EQ(back->in_this_state, state.in_this_state);
  EXPECT_EQ(back->since_success, state.since_success);
  ASSERT_EQ(back->entries, state.entries);
  for (std::size_t i = 0; i < state.entries; ++i) {
    EXPECT_EQ(back->history[i].good, state.history[i].good) << i;
    EXPECT_EQ(back->history[i].bad, state.history[i].bad) << i;
    EXPECT_EQ(back->history[i].sign, state.history[i].sign) << i;
  }
  EXPECT_EQ(to_text(*back), text);
}

TEST(LearnedText, ARouteComesBackAsItWas) {
  const sense::RouteLearned learned{
      .latency_ms = {.value = 12.3456789, .told = 600}, .in_flight = {.value = 1e-7, .told = 5}, .error_rate = {}};
  const auto back = route_of_text(to_text(learned));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->latency_ms.value, 12.3456789);
  EXPECT_EQ(back->latency_ms.told, 600U);
  EXPECT_EQ(back->in_flight.value, 1e-7);
  EXPECT_EQ(back->in_flight.told, 5U);
  EXPECT_EQ(back->error_rate.told, 0U);
}

TEST(LearnedText, TheMarkOfWhatIsGone) {
  const std::string text = to_text(some_state());
  EXPECT_FALSE(is_gone(text));
  EXPECT_TRUE(is_gone(marked_gone(text)));
  EXPECT_EQ(to_text(presence_of_text(marked_gone(text)).value()), text);
  EXPECT_EQ(marked_gone("garbage"), "");
}

TEST(LearnedText, WhatCannotBeReadIsNothing) {
  const std::string good = to_text(some_state());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const std::string& text : {std::string{},
                                  std::string("\0", 1),
                                  std::string("[]"),
                                  std::string("7"),
                                  std::string("{}"),
                                  good.substr(0, good.size() - 1),
                                  with("\"v\":1", "\"v\":2"),
                                  with("\"v\":1", "\"v\":\"1\""),
                                  with("liminal", "gone"),
                                  with("traffic", "weather"),
                                  with("true", "1"),
                                  with("1500", "-1"),
                                  with("1500", "1e300"),
                                  with(".ETXR70", ".ETXR700"),
                                  with(".ETXR70", "?"),
                                  with(".ETXR70", std::string(65, '.')),
                                  with("0.75", "2"),
                                  with("2.5", "1e9"),
                                  with("[[", "["),
                                  with("history", "History")}) {
    EXPECT_FALSE(presence_of_text(text)) << text;
  }
  EXPECT_FALSE(route_of_text(good));
  EXPECT_FALSE(presence_of_text(to_text(sense::RouteLearned{})));
  EXPECT_FALSE(route_of_text(R"({"v":1,"latency_ms":[1],"in_flight":[1,1],"error_rate":[1,1]})"));
  EXPECT_FALSE(route_of_text(R"({"v":1,"latency_ms":[-1,1],"in_flight":[1,1],"error_rate":[1,1]})"));
}

}  // namespace
}  // namespace dao::memory
