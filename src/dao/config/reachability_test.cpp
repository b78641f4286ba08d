#include "dao/config/reachability.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "dao/config/load.h"

namespace dao::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A config whose rules a, b, c ... have these matches, each in one line.
std::string config(const std::vector<std::string>& matches) {
  std::string text;
  char name = 'a';
  for (const std::string& match : matches) {
    text += fmt::format(
        "[[routes.rule]]\nname = \"{}\"\nmatch = {{ {} }}\nupstreams = [{{ name = \"u\", url = \"http://h\" }}]\n",
        name++, match);
  }
  return text;
}

std::vector<std::string> warnings(const std::vector<std::string>& matches) {
  const auto loaded = load_text(config(matches), "x");
  if (!loaded) return {loaded.error().front().message};
  std::vector<std::string> messages;
  for (const Diagnostic& warning : loaded->warnings) messages.push_back(warning.message);
  return messages;
}

TEST(Reachability, SaysWhichRuleTakesEverything) {
  EXPECT_THAT(warnings({"path_prefix = '/a'", "path_exact = '/ab'"}),
              ElementsAre("no request reaches the rule \"b\": the rule \"a\" on line 1 takes everything it matches"));
  EXPECT_THAT(warnings({"", "host = 'x'", "path_prefix = '/'"}),
              ElementsAre(HasSubstr("the rule \"b\": the rule \"a\""), HasSubstr("the rule \"c\": the rule \"a\"")));
  EXPECT_THAT(warnings({"host = '*.b'", "host = 'a.b', path_prefix = '/'"}),
              ElementsAre(HasSubstr("reaches the rule \"b\"")));
  EXPECT_THAT(warnings({"host = '*.b'", "host = '*.a.b'"}), ElementsAre(HasSubstr("reaches the rule \"b\"")));
  EXPECT_THAT(warnings({"headers = { X = '1' }", "headers = { y = '2', x = '1' }, path_exact = '/'"}),
              ElementsAre(HasSubstr("reaches the rule \"b\"")));
  EXPECT_THAT(warnings({"path_prefix = '/'", "path_prefix = '/ws', upgrade = 'websocket'"}),
              ElementsAre(HasSubstr("reaches the rule \"b\"")));
}

TEST(Reachability, SaysThatAMatchIsThereTwice) {
  EXPECT_THAT(warnings({"host = ['a', 'b'], path_exact = '/x'", "path_exact = '/x', host = ['B', 'A']"}),
              ElementsAre("no request reaches the rule \"b\": it has the same match as the rule \"a\" on line 1"));
  EXPECT_THAT(warnings({"", "", ""}),
              ElementsAre(HasSubstr("same match as the rule \"a\""), HasSubstr("same match as the rule \"a\"")));
}

TEST(Reachability, HostsAreTakenOneByOne) {
  EXPECT_THAT(warnings({"host = 'a'", "host = ['b', '*.c']", "host = ['a', 'b', 'x.c']"}),
              ElementsAre("no request reaches the rule \"c\": the rule \"a\" on line 1, the rule \"b\" on line 5 take "
                          "everything it matches"));
  EXPECT_THAT(
      warnings({"host = '*.b'", "host = ['a', 'x.b', 'b']"}),
      ElementsAre("no request for \"x.b\" reaches the rule \"b\": the rule \"a\" on line 1 takes everything that "
                  "it matches there"));
  const auto loaded = load_text(config({"host = '*.b'", "host = ['a', 'x.b']"}), "x");
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->warnings.size(), 1U);
  EXPECT_EQ(loaded->warnings[0].key, "routes.rule[1].match.host[1]");
  EXPECT_EQ(loaded->warnings[0].line, 7U);
}

TEST(Reachability, NoFalseWarnings) {
  const std::vector<std::vector<std::string>> cases = {
      {"path_exact = '/'", "path_prefix = '/'"},
      {"path_prefix = '/a'", "path_prefix = '/'"},
      {"path_prefix = '/a/'", "path_exact = '/a'"},
      {"path_prefix = '/'", ""},  // "OPTIONS *" has no path
      {"host = 'a'", ""},
      {"host = 'a'", "host = 'b'"},
      {"host = '*.b'", "host = 'b'"},
      {"host = '*.a.b'", "host = '*.b'"},
      {"host = 'x.b'", "host = '*.b'"},
      {"host = '*.xb'", "host = 'a.b'"},
      {"host = 'a', path_prefix = '/x'", "host = 'a', path_prefix = '/y'"},
      {"headers = { X = '1' }", ""},
      {"headers = { X = '1' }", "headers = { X = '2' }"},
      {"headers = { X = '1' }", "headers = { X = '1', Y = '1' }", ""},  // only the second is covered
      {"upgrade = 'websocket'", ""},
      {"upgrade = 'websocket', path_prefix = '/'", "path_prefix = '/'"},
      {"host = ['a', 'b'], path_exact = '/1'", "host = ['a', 'b'], path_exact = '/2'"},
      {"host = 'a', path_prefix = '/'", "host = 'b', path_prefix = '/'", "path_prefix = '/'"},
  };
  for (const std::vector<std::string>& matches : cases) {
    const auto found = warnings(matches);
    if (matches.size() == 3 && matches[1].contains("Y")) {
      EXPECT_THAT(found, ElementsAre(HasSubstr("the rule \"b\"")));
    } else {
      EXPECT_THAT(found, IsEmpty()) << config(matches);
    }
  }
}

// The same verdicts as comparing every rule with every earlier one.
TEST(Reachability, AgreesWithComparingAll) {
  const std::vector<std::string> hosts = {"",           "host = 'a.b'",   "host = '*.b'",
                                          "host = 'b'", "host = '*.a.b'", "host = 'c.a.b'"};
  const std::vector<std::string> paths = {"",
                                          "path_prefix = '/'",
                                          "path_prefix = '/a'",
                                          "path_prefix = '/a/b'",
                                          "path_exact = '/a'",
                                          "path_exact = '/a/b'",
                                          "path_exact = '/a/b/c'"};
  const std::vector<std::string> headers = {"", "headers = { X = '1' }", "headers = { X = '2' }",
                                            "headers = { Y = '1', X = '1' }", "headers = { Y = '1' }"};
  const std::vector<std::string> upgrades = {"", "", "upgrade = 'websocket'"};
  std::mt19937 random(3);
  std::size_t unreachable = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> matches;
    for (int i = 0; i < 12; ++i) {
      std::string match;
      for (const auto* choices : {&hosts, &paths, &headers, &upgrades}) {
        const std::string& part = (*choices)[random() % choices->size()];
        if (!part.empty()) match += (match.empty() ? "" : ", ") + part;
      }
      matches.push_back(match);
    }
    const auto loaded = load_text(config(matches), "x");
    ASSERT_TRUE(loaded);
    std::vector<std::string> expected;
    const std::vector<Rule>& rules = loaded->config.rules;
    for (std::size_t later = 0; later < rules.size(); ++later) {
      const bool covered = std::ranges::any_of(std::span(rules).first(later), [&](const Rule& earlier) {
        return covers(earlier.match, rules[later].match);
      });
      if (covered) expected.push_back(fmt::format("routes.rule[{}]", later));
    }
    std::vector<std::string> found;
    for (const Diagnostic& warning : loaded->warnings) found.push_back(warning.key);
    ASSERT_EQ(found, expected) << config(matches);
    unreachable += found.size();
  }
  EXPECT_GT(unreachable, 300U);
}

// Comparing each with each would be fifty million comparisons for each shape.
TEST(Reachability, ManyRules) {
  const std::vector<std::string_view> shapes = {"host = 'h{0}.test'", "path_prefix = '/p/{0}/'",
                                                "host = 'h', path_exact = '/{0}'", "headers = {{ X = '{0}' }}",
                                                "host = ['h{0}.test', '*.w{0}.test'], path_prefix = '/x'"};
  for (const std::string_view shape : shapes) {
    std::string text;
    for (int i = 0; i < 10'000; ++i) {
      text += fmt::format(
          "[[routes.rule]]\nname = \"{}\"\nmatch = {{ {} }}\nupstreams = [{{ name = \"u\", url = \"http://h\" }}]\n", i,
          fmt::format(fmt::runtime(shape), 10'000 + i));
    }
    text += fmt::format(
        "[[routes.rule]]\nname = \"last\"\nmatch = {{ {} }}\nupstreams = [{{ name = \"u\", url = \"http://h\" }}]\n",
        fmt::format(fmt::runtime(shape), 15'000));
    const auto loaded = load_text(text, "x");
    ASSERT_TRUE(loaded);
    ASSERT_EQ(loaded->warnings.size(), 1U) << shape;
    EXPECT_THAT(loaded->warnings[0].message, HasSubstr("it has the same match as the rule \"5000\""));
  }
}

}  // namespace
}  // namespace dao::config
