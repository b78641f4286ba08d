#include "dao/config/use_checks.h"

#include <gmock/gmock.h>

#include "dao/config/load.h"

namespace dao::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string rule(std::string_view lines, std::string_view upstreams) {
  return "[[routes.rule]]\nname = \"r\"\n" + std::string(lines) + "\nupstreams = [" + std::string(upstreams) + "]\n";
}
constexpr std::string_view kOne = "{ name = \"u\", url = \"http://h\" }";

// "key: message" of each warning; the error, if there is one.
std::vector<std::string> warnings(const std::string& text) {
  const auto loaded = load_text(text, "x");
  std::vector<std::string> found;
  for (const Diagnostic& diagnostic : loaded ? loaded->warnings : loaded.error()) {
    found.push_back(diagnostic.key + ": " + diagnostic.message);
  }
  return found;
}

TEST(UseChecks, AWeightOfTheOnlyUpstream) {
  EXPECT_THAT(
      warnings(rule("", "{ name = \"u\", url = \"http://h\", weight = 5 }")),
      ElementsAre("routes.rule[0].upstreams[0].weight: the weight changes nothing: \"u\" is the only upstream of "
                  "the rule \"r\""));
  for (const char* good : {
           "{ name = \"u\", url = \"http://h\", weight = 1 }",
           "{ name = \"u\", url = \"http://h\", weight = 5 }, { name = \"v\", url = \"http://i\", weight = 5 }",
           "{ name = \"u\", url = \"http://h\", weight = 5 }, { name = \"v\", url = \"http://i\" }",
       }) {
    EXPECT_THAT(warnings(rule("", good)), IsEmpty()) << good;
    EXPECT_THAT(warnings(rule("policy = \"consistent-hash\"", good)), IsEmpty()) << good;
  }
}

TEST(UseChecks, AnIntentThatNoRequestHas) {
  constexpr std::string_view kBatch = "{ name = \"u\", url = \"http://h\", intent = [\"batch\", \"ai\"] }";
  EXPECT_THAT(warnings(rule("", kBatch)),
              ElementsAre("routes.rule[0].upstreams[0].intent[0]: no request has the intent \"batch\"",
                          "routes.rule[0].upstreams[0].intent[1]: no request has the intent \"ai\""));
  EXPECT_THAT(warnings(rule("intent = \"batch\"", "{ name = \"u\", url = \"http://h\", intent = \"ai\" }")),
              ElementsAre("routes.rule[0].upstreams[0].intent: no request has the intent \"ai\""));
  EXPECT_THAT(warnings(rule("intent = \"Batch\"", "{ name = \"u\", url = \"http://h\", intent = \"batch\" }")),
              IsEmpty());
  // Any rule will do: in the others the upstream is a reserve.
  EXPECT_THAT(warnings(rule("match.host = \"a\"", "{ name = \"u\", url = \"http://h\", intent = \"batch\" }") +
                       "[[routes.rule]]\nname = \"s\"\nintent = \"batch\"\nupstreams = [" + std::string(kOne) + "]\n"),
              IsEmpty());
  // Clients may name it.
  EXPECT_THAT(warnings("[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[routes]\nintent_header = \"X-Intent\"\n" +
                       rule("", kBatch)),
              IsEmpty());
}

TEST(UseChecks, APolicyThatNoRuleUses) {
  EXPECT_THAT(warnings("[policies.p]\nw_load = 1\n" + rule("", kOne)),
              ElementsAre("policies.p: no rule uses the policy \"p\""));
  EXPECT_THAT(warnings("[policies.p]\nw_load = 1\n" + rule("policy = \"p\"", kOne)), IsEmpty());
}

}  // namespace
}  // namespace dao::config
