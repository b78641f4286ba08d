#include "dao/config/diff.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

namespace dao::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string shown(std::string_view before, std::string_view after) {
  const auto changes = diff(before, after);
  return changes ? render_text(*changes) : "error: " + changes.error().front().message;
}

constexpr std::string_view kBase = R"([server]
bind = "127.0.0.1:80"
workers = 2

[[routes.rule]]
name = "api"
match.host = ["a.test", "b.test"]
[[routes.rule.upstreams]]
name = "one"
url = "http://one"
weight = 3
[[routes.rule.upstreams]]
name = "two"
url = "http://two"
[routes.rule.filters]
request_headers_set = { "X-A" = "1", Authorization = "Bearer abc" }

[[routes.rule]]
name = "web"
[[routes.rule.upstreams]]
name = "two"
url = "http://two"
)";

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}
std::string changed(std::string_view what, std::string_view with) {
  return shown(kBase, replaced(std::string(kBase), what, with));
}

TEST(Diff, SpellingIsNoChange) {
  EXPECT_EQ(shown(kBase, kBase), "");
  constexpr std::string_view kSame = R"(# another spelling of it
routes.rule = [
  { match = { host = ["a.test", "b.test"] }, name = "api", filters.request_headers_set = { "Authorization" = 'Bearer abc', X-A = "1" }, upstreams = [
    { url = "http://two", name = "two" },
    { name = "one", url = "http://one", weight = 0x3 } ] },
  { name = "web", upstreams = [ { name = "two", url = """http://two""" } ] },
]
server.workers = 2
server.bind = ["127.0.0.1:80"]
)";
  EXPECT_EQ(shown(kBase, kSame), "");
  EXPECT_EQ(shown(kSame, kBase), "");
}

TEST(Diff, EachKindOfChangeHasItsLine) {
  EXPECT_EQ(changed("workers = 2", "workers = 4"), "~ server.workers: 2 -> 4\n");
  EXPECT_EQ(changed("workers = 2", "# workers = 2"), "- server.workers = 2  (now the default, 0)\n");
  EXPECT_EQ(changed("workers = 2", "workers = 2\nidle_timeout_ms = 1000"),
            "+ server.idle_timeout_ms = 1000  (the default was 60000)\n");
  EXPECT_EQ(changed("workers = 2", "workers = 2\nidle_timeout_ms = 60000"),
            "+ server.idle_timeout_ms = 60000  (the default)\n");
  EXPECT_EQ(changed("weight = 3", "weight = 5"), "~ routes.rule[api].upstreams[one].weight: 3 -> 5\n");
  EXPECT_EQ(changed("\"X-A\" = \"1\"", "\"X-B\" = \"1\""),
            "- routes.rule[api].filters.request_headers_set.X-A = \"1\"\n"
            "+ routes.rule[api].filters.request_headers_set.X-B = \"1\"\n");
  EXPECT_EQ(changed("\"b.test\"", "\"c.test\""),
            "~ routes.rule[api].match.host: [\"a.test\",\"b.test\"] -> [\"a.test\",\"c.test\"]\n");
  EXPECT_EQ(changed("[server]", "[policies.\"a.b\"]\nw_load = 1\n[server]"), "+ policies.\"a.b\"\n+     w_load = 1\n");
  EXPECT_EQ(changed("[server]", "[dns]\n[server]"), "");  // says nothing
}

TEST(Diff, ARuleIsOneThing) {
  constexpr std::string_view kNew = R"(
[[routes.rule]]
name = "new one"
policy = "random"
match.path_prefix = "/new/"
[[routes.rule.upstreams]]
name = "x"
url = "http://x"
)";
  EXPECT_EQ(shown(kBase, std::string(kBase) + std::string(kNew)),
            "+ routes.rule[new one]  (place 3)\n"
            "+     match.path_prefix = \"/new/\"\n"
            "+     policy = \"random\"\n"
            "+     upstreams[x].url = \"http://x\"\n");
  const auto gone = diff(std::string(kBase) + std::string(kNew), kBase);
  ASSERT_TRUE(gone);
  ASSERT_EQ(gone->size(), 1U);
  EXPECT_EQ(gone->front().kind, Change::Kind::removed);
  EXPECT_EQ(gone->front().path, "routes.rule[new one]");
  EXPECT_EQ(gone->front().place_before, 3U);
  EXPECT_EQ(nlohmann::json::parse(gone->front().before)["upstreams"][0]["url"], "http://x");
}

TEST(Diff, TheOrderOfRulesCountsThatOfUpstreamsDoesNot) {
  const auto config = [](std::string_view order, std::string_view upstreams) {
    std::string text;
    for (const char name : order) {
      text += fmt::format("[[routes.rule]]\nname = \"{}\"\n", name);
      for (const char upstream : upstreams) {
        text += fmt::format("[[routes.rule.upstreams]]\nname = \"{0}\"\nurl = \"http://{0}\"\n", upstream);
      }
    }
    return text;
  };
  EXPECT_EQ(shown(config("abcd", "xyz"), config("abcd", "zxy")), "");
  EXPECT_EQ(shown(config("abcd", "x"), config("dabc", "x")), "~ routes.rule[d]: moved from place 4 to place 1\n");
  EXPECT_EQ(shown(config("abcd", "x"), config("bcda", "x")), "~ routes.rule[a]: moved from place 1 to place 4\n");
  EXPECT_EQ(shown(config("abcd", "x"), config("acd", "x")),
            "- routes.rule[b]  (place 2)\n-     upstreams[x].url = \"http://x\"\n");
  // Twice at the same time: the rule moves, and has a new upstream.
  EXPECT_EQ(
      shown(config("abc", "x"), config("cab", "x") + "[[routes.rule.upstreams]]\nname = \"y\"\nurl = \"http://y\"\n"),
      "~ routes.rule[c]: moved from place 3 to place 1\n"
      "+ routes.rule[b].upstreams[y]\n+     url = \"http://y\"\n");
}

TEST(Diff, SecretsAreNotShownButTheirChangeIs) {
  EXPECT_EQ(changed("Bearer abc", "Bearer def"),
            "~ routes.rule[api].filters.request_headers_set.Authorization: \"(redacted)\" -> \"(redacted)\"\n");
  const auto sticky = [](std::string_view secret) {
    return fmt::format("{}[routes.rule.sticky]\ncookie = \"c\"\nsecret = \"{}\"\n", kBase, secret);
  };
  const std::string added = shown(kBase, sticky("hush-hush-hush-hush"));
  EXPECT_THAT(added, HasSubstr("secret = \"(redacted)\""));
  EXPECT_THAT(added, Not(HasSubstr("hush")));
  EXPECT_EQ(shown(sticky("hush-hush-hush-hush"), sticky("hush-hush-hush-hash")),
            "~ routes.rule[web].sticky.secret: \"(redacted)\" -> \"(redacted)\"\n");
  const auto json = diff(kBase, replaced(std::string(kBase), "Bearer abc", "Basic xyz"));
  ASSERT_TRUE(json);
  EXPECT_THAT(render_json(*json), Not(HasSubstr("xyz")));
  EXPECT_THAT(render_json(*json), Not(HasSubstr("abc")));
}

TEST(Diff, JsonHasTheValuesThemselves) {
  const auto changes =
      diff(kBase, replaced(replaced(std::string(kBase), "workers = 2", "workers = 4"), "weight = 3", ""));
  ASSERT_TRUE(changes);
  const auto json = nlohmann::json::parse(render_json(*changes));
  ASSERT_EQ(json.size(), 2U);
  EXPECT_EQ(
      json[0],
      (nlohmann::json{
          {"kind", "removed"}, {"path", "routes.rule[api].upstreams[one].weight"}, {"before", 3}, {"default", 1}}));
  EXPECT_EQ(
      json[1],
      (nlohmann::json{{"kind", "changed"}, {"path", "server.workers"}, {"before", 2}, {"after", 4}, {"default", 0}}));
  EXPECT_EQ(nlohmann::json::parse(render_json(Changes{})), nlohmann::json::array());
}

TEST(Diff, FilesDoNotCountAndWhatIsNoTomlIsSaidSo) {
  const std::string text(kBase);
  const std::size_t cut = text.find("[[routes.rule]]\nname = \"web\"");
  const std::string in_two =
      "#:dao-file a\ninclude = \"b\"\n" + text.substr(0, cut) + "#:dao-file b\n" + text.substr(cut);
  EXPECT_EQ(shown(kBase, in_two), "+ include = \"b\"  (the default was [])\n");
  const auto wrong = diff(kBase, "[server\n");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().front().file, "after");
  EXPECT_EQ(wrong.error().front().line, 1U);
}

TEST(Diff, NothingOfATerminalIsLetThrough) {
  EXPECT_THAT(changed("\"X-A\" = \"1\"", "\"X-A\" = \"\\u009b2J\""), Not(HasSubstr("\xc2\x9b")));
}

// A configuration as a model that can be edited, each edit with the change that must come of it.
class Model {
 public:
  explicit Model(std::mt19937& random) : random_(random) {
    for (int i = 0; i < 12; ++i) rules_.push_back(fresh_rule());
    for (const char* key : {"workers", "max_connections", "header_max_count"}) server_[key] = 1;
  }

  // In any spelling: shuffled where the order does not count.
  std::string text() {
    std::vector<std::string> tables;
    std::string server = "[server]\n";
    for (const auto& [key, value] : shuffled(server_)) server += fmt::format("{} = {} # {}\n", key, value, random_());
    tables.push_back(server);
    for (const auto& [name, weight] : policies_)
      tables.push_back(fmt::format("[policies.{}]\nw_load = {}\n", name, weight));
    std::ranges::shuffle(tables, random_);
    std::string text;
    for (const std::string& table : tables) text += table;
    for (const Rule& rule : rules_) {
      text += fmt::format("[[routes.rule]]\nname = \"{}\"\nslow_start_ms = {}\n", rule.name, rule.slow_start);
      for (const auto& [name, weight] : shuffled(rule.upstreams)) {
        text += fmt::format("[[routes.rule.upstreams]]\n{}",
                            random_() % 2 == 0
                                ? fmt::format("name = \"{0}\"\nurl = \"http://{0}\"\nweight = {1}\n", name, weight)
                                : fmt::format("weight = {1}\n\n  url = 'http://{0}'\nname = \"{0}\"\n", name, weight));
      }
    }
    return text;
  }

  // Edits; every thing at most once, so that what must be seen is the sum. "KIND PATH".
  std::vector<std::string> edit() {
    std::vector<std::string> expected;
    for (auto& [key, value] : server_) {
      if (!one_in(3)) continue;
      value += 1;
      expected.push_back("changed server." + key);
    }
    if (one_in(2)) {
      policies_[fresh("p")] = 1;
      expected.push_back(fmt::format("added policies.p{}", next_ - 1));
    }
    std::vector<Rule> kept;
    for (Rule& rule : rules_) {
      const std::string path = fmt::format("routes.rule[{}]", rule.name);
      if (one_in(6)) {
        expected.push_back("removed " + path);
        continue;
      }
      if (one_in(4)) {
        rule.slow_start += 1;
        expected.push_back(fmt::format("changed {}.slow_start_ms", path));
      }
      std::map<std::string, int> upstreams;
      for (auto& [name, weight] : rule.upstreams) {
        if (one_in(5)) {
          expected.push_back(fmt::format("removed {}.upstreams[{}]", path, name));
          continue;
        }
        const bool heavier = one_in(5);
        if (heavier) expected.push_back(fmt::format("changed {}.upstreams[{}].weight", path, name));
        upstreams[name] = weight + (heavier ? 1 : 0);
      }
      if (one_in(3)) {
        const std::string name = fresh("u");
        upstreams[name] = 1;
        expected.push_back(fmt::format("added {}.upstreams[{}]", path, name));
      }
      rule.upstreams = std::move(upstreams);
      kept.push_back(std::move(rule));
    }
    rules_ = std::move(kept);
    // One rule over at least two others: no smaller number of moves would do.
    if (rules_.size() >= 4 && one_in(2)) {
      const bool to_end = one_in(2);
      const std::size_t from = random_() % (rules_.size() - 2) + (to_end ? 0 : 2);
      Rule moved = std::move(rules_[from]);
      rules_.erase(rules_.begin() + static_cast<std::ptrdiff_t>(from));
      expected.push_back(fmt::format("moved routes.rule[{}]", moved.name));
      rules_.insert(to_end ? rules_.end() : rules_.begin(), std::move(moved));
    }
    for (int i = 0; i < 3; ++i) {
      if (!one_in(3)) continue;
      const auto at = rules_.begin() + static_cast<std::ptrdiff_t>(random_() % (rules_.size() + 1));
      const Rule rule = fresh_rule();
      expected.push_back(fmt::format("added routes.rule[{}]", rule.name));
      rules_.insert(at, rule);
    }
    return expected;
  }

 private:
  struct Rule {
    std::string name;
    int slow_start = 1;
    std::map<std::string, int> upstreams;
  };

  bool one_in(unsigned n) { return random_() % n == 0; }
  std::string fresh(std::string_view prefix) { return fmt::format("{}{}", prefix, next_++); }
  Rule fresh_rule() {
    Rule rule{.name = fresh("r"), .slow_start = 1, .upstreams = {}};
    for (int i = 0; i < 4; ++i) rule.upstreams[fresh("u")] = 1;
    return rule;
  }
  std::vector<std::pair<std::string, int>> shuffled(const std::map<std::string, int>& from) {
    std::vector<std::pair<std::string, int>> items(from.begin(), from.end());
    std::ranges::shuffle(items, random_);
    return items;
  }

  std::mt19937& random_;
  int next_ = 0;
  std::map<std::string, int> server_;
  std::map<std::string, int> policies_;
  std::vector<Rule> rules_;
};

TEST(Diff, RandomEditsAreExactlyWhatIsFound) {
  constexpr std::array kKinds = {"added", "removed", "changed", "moved"};
  std::mt19937 random(11);
  std::size_t total = 0;
  for (int round = 0; round < 200; ++round) {
    Model model(random);
    const std::string before = model.text();
    EXPECT_EQ(shown(before, model.text()), "") << before;
    std::vector<std::string> expected = model.edit();
    const auto changes = diff(before, model.text());
    ASSERT_TRUE(changes);
    std::vector<std::string> found;
    for (const Change& change : *changes) {
      found.push_back(fmt::format("{} {}", kKinds[static_cast<std::size_t>(change.kind)], change.path));
    }
    std::ranges::sort(expected);
    std::ranges::sort(found);
    ASSERT_EQ(found, expected) << before << "\n-----\n" << model.text();
    total += found.size();
  }
  EXPECT_GT(total, 500U);
}

TEST(Diff, TheConfigsOfTheRepositoryAreWhatTheyAre) {
  const char* dir = std::getenv("DAO_SOURCE_DIR");
  for (const char* name : {"dao.toml", "example.toml", "minimal.toml"}) {
    std::ifstream file(std::filesystem::path(dir == nullptr ? "." : dir) / "configs" / name);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(shown(text, text), "");
    EXPECT_THAT(shown("", text), HasSubstr("+ routes.rule["));
  }
}

// Work that grows with the square of the size would take minutes here.
TEST(Diff, ManyUpstreams) {
  std::string before;
  std::string after;
  for (int rule = 0; rule < 10'000; ++rule) {
    std::string text = fmt::format("[[routes.rule]]\nname = \"r{}\"\nmatch.host = \"h{}.test\"\n", rule, rule);
    for (int upstream = 0; upstream < 5; ++upstream) {
      text +=
          fmt::format("[[routes.rule.upstreams]]\nname = \"u{0}-{1}\"\nurl = \"http://10.0.{1}.1\"\n", rule, upstream);
    }
    before += text;
    after = rule % 1000 == 0 ? text + after : after + text;  // ten rules move to the front
  }
  after += "weight = 2\n";
  const auto changes = diff(before, after);
  ASSERT_TRUE(changes);
  EXPECT_EQ(changes->size(), 10U);  // the last of the ten came to stand first, as it was; and the weight
}

}  // namespace
}  // namespace dao::config
