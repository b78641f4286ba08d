#include "dao/server/intent.h"

#include <gtest/gtest.h>

namespace dao::server {
namespace {

TEST(Intent, IsThatOfTheRuleUnlessATrustedProxyNamesAnother) {
  config::Config config;
  config.intents = {"realtime", "batch"};
  config.rules.resize(2);
  config.rules[0].intent = 1;
  http::RequestHead request;
  request.add("X-Intent", "Batch");
  EXPECT_EQ(intent_of(config, 0, request, true), 1U) << "the header is off";
  config.intent_header = "x-intent";
  EXPECT_EQ(intent_of(config, 0, request, true), 2U);
  EXPECT_EQ(intent_of(config, 1, request, true), 2U);
  EXPECT_EQ(intent_of(config, 0, request, false), 1U) << "nobody else is believed";
  EXPECT_EQ(intent_of(config, 1, request, false), 0U);
}

TEST(Intent, OfAnUnknownNameIsThatOfTheRule) {
  config::Config config;
  config.intents = {"realtime"};
  config.intent_header = "x-intent";
  config.rules.resize(1);
  config.rules[0].intent = 1;
  http::RequestHead request;
  EXPECT_EQ(intent_of(config, 0, request, true), 1U);
  request.add("X-Intent", "realtime, batch");
  EXPECT_EQ(intent_of(config, 0, request, true), 1U);
}

}  // namespace
}  // namespace dao::server
