// Configurations of several files, from files and from bundles.
#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "dao/config/diff.h"
#include "dao/config/load.h"

namespace dao::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::string rule(const std::string& name, const std::string& more = {}) {
  return "[[routes.rule]]\nname = \"" + name + "\"\nmatch.host = \"" + name + ".test\"\n" + more +
         "[[routes.rule.upstreams]]\nname = \"u-" + name + "\"\nurl = \"http://h\"\n";
}

// A directory of its own for each test, with DIR/dao.toml and whatever else the test puts there.
class IncludeTest : public testing::Test {
 protected:
  IncludeTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dao_include_test_XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
  }
  ~IncludeTest() override { std::filesystem::remove_all(dir_); }

  void put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name, std::ios::binary) << text;
  }
  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  LoadResult load() const { return load_file(dir_ / "dao.toml"); }
  // "FILE:line:column: key: message" of each diagnostic, FILE relative to the directory.
  std::vector<std::string> errors() const {
    std::vector<std::string> lines;
    const LoadResult loaded = load();
    if (loaded) return {"loaded"};
    for (const Diagnostic& diagnostic : loaded.error()) {
      lines.push_back(short_name(diagnostic.file) + ":" + std::to_string(diagnostic.line) + ":" +
                      std::to_string(diagnostic.column) + ": " + diagnostic.key + ": " +
                      without_dir(diagnostic.message));
    }
    return lines;
  }
  std::string short_name(const std::string& file) const { return without_dir(file); }
  std::string without_dir(std::string text) const {
    const std::string prefix = dir_.string() + "/";
    for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) text.erase(at, prefix.size());
    return text;
  }
  std::vector<std::string> relative(const std::vector<std::string>& names) const {
    std::vector<std::string> shortened;
    for (const std::string& name : names) shortened.push_back(without_dir(name));
    return shortened;
  }
  static std::vector<std::string> rules(const LoadResult& loaded) {
    std::vector<std::string> names;
    for (const Rule& one : loaded->config.rules) names.push_back(one.name);
    return names;
  }

  std::filesystem::path dir_;
};

TEST_F(IncludeTest, RulesOfTheFileItselfComeFirstThenThoseOfTheOthersByName) {
  put("dao.toml", "include = [\"conf.d/*.toml\", \"more.toml\"]\n[server]\nworkers = 3\n" + rule("own"));
  put("conf.d/20-b.toml", rule("b") + rule("c"));
  put("conf.d/10-a.toml", "[server]\nvia = \"x\"\n[policies.p]\nw_load = 1\n" + rule("a", "policy = \"q\"\n"));
  put("conf.d/.hidden.toml", "nonsense");
  put("conf.d/readme.txt", "nonsense");
  put("conf.d/directory.toml/x", "nonsense");
  put("conf.d/30-empty.toml", "\n");
  put("more.toml", "[policies.q]\nw_load = 1\n" + rule("d", "policy = \"p\"\n"));
  const LoadResult loaded = load();
  ASSERT_TRUE(loaded) << errors().front();
  EXPECT_THAT(rules(loaded), ElementsAre("own", "a", "b", "c", "d"));
  EXPECT_EQ(loaded->config.server.workers, 3U);
  EXPECT_EQ(loaded->config.server.via, "x");
  EXPECT_EQ(loaded->config.source, path("dao.toml"));
  EXPECT_THAT(relative(loaded->config.files),
              ElementsAre("dao.toml", "conf.d/10-a.toml", "conf.d/20-b.toml", "conf.d/30-empty.toml", "more.toml"));
  EXPECT_THAT(relative(loaded->config.include_patterns), ElementsAre("conf.d/*.toml"));
  EXPECT_THAT(loaded->warnings, IsEmpty());
}

TEST_F(IncludeTest, DiagnosticsNameTheFileTheyAreIn) {
  put("dao.toml", "include = \"conf.d/*.toml\"\n[server]\nwrokers = 1\n" + rule("own"));
  put("conf.d/a.toml", "\n" + rule("a", "policy = \"resonat\"\n"));
  put("conf.d/b.toml", rule("own"));
  const LoadResult loaded = load();
  ASSERT_FALSE(loaded);
  EXPECT_THAT(errors(), ElementsAre("dao.toml:3:1: server.wrokers: unknown key \"wrokers\" in [server]",
                                    "conf.d/a.toml:5:10: routes.rule[1].policy: \"resonat\" is not a known policy",
                                    "conf.d/b.toml:2:8: routes.rule[2].name: the rule name \"own\" is already taken on "
                                    "line 5 of dao.toml"));
  EXPECT_EQ(loaded.error()[0].source_line, "wrokers = 1");
  EXPECT_EQ(loaded.error()[1].source_line, "policy = \"resonat\"");
  EXPECT_EQ(loaded.error()[2].source_line, "name = \"own\"");
}

TEST_F(IncludeTest, WarningsNameBothFiles) {
  put("dao.toml", "include = \"a.toml\"\n" + rule("own"));
  put("a.toml", rule("a", "match.path_prefix = \"/\"\n") +
                    "[[routes.rule]]\nname = \"s\"\nmatch.host = \"own.test\"\n" +
                    "[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"http://h\"\n");
  const LoadResult loaded = load();
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->warnings.size(), 1U);
  EXPECT_EQ(loaded->warnings[0].file, path("a.toml"));
  EXPECT_EQ(loaded->warnings[0].line, 8U);
  EXPECT_EQ(without_dir(loaded->warnings[0].message),
            "no request reaches the rule \"s\": it has the same match as the rule \"own\" on line 2 of dao.toml");
}

TEST_F(IncludeTest, AKeyOfTwoFilesIsAnErrorThatNamesBothPlaces) {
  put("dao.toml", "include = [\"a.toml\", \"b.toml\"]\n[server]\nworkers = 1\n[policies.p]\n" + rule("own"));
  put("a.toml", "[server]\nvia = \"a\"\nworkers = 2\n");
  put("b.toml", "server.via = \"b\"\n[policies.p]\nw_load = 1\n[policies.q]\nw_load = 1\n[proxy]\nretries = 1\n");
  EXPECT_THAT(errors(), ElementsAre("a.toml:3:1: server.workers: \"workers\" is there already: dao.toml:3:1",
                                    "b.toml:1:8: server.via: \"via\" is there already: a.toml:2:1",
                                    "b.toml:2:11: policies.p: \"p\" is there already: dao.toml:4:11"));
}

TEST_F(IncludeTest, WhatCannotBeIncludedIsSaidWhereItIsNamed) {
  put("dao.toml",
      "include = [\"missing.toml\", \"conf.d\", \"none/*.toml\", \"a.toml\", \"x/**/y\", \"\"]\n" + rule("own"));
  put("conf.d/x", "");
  put("a.toml", "include = \"b.toml\"\n[server\n");
  put("b.toml", "");
  EXPECT_THAT(
      errors(),
      ElementsAre("dao.toml:1:12: include[0]: missing.toml: cannot open: No such file or directory",
                  "dao.toml:1:28: include[1]: conf.d: is a directory",
                  "dao.toml:1:63: include[4]: \"**\" is no pattern: \"*\" stands for a part of one name",
                  "dao.toml:1:73: include[5]: \"\" cannot be the path of a file", HasSubstr("a.toml:2:8: : syntax: ")));
  put("a.toml", "include = \"b.toml\"\n");
  put("dao.toml", "include = \"a.toml\"\n" + rule("own"));
  EXPECT_THAT(errors(), ElementsAre("a.toml:1:1: include: an included file cannot include others"));
  put("dao.toml", "include = [1]\n" + rule("own"));
  EXPECT_THAT(errors(), ElementsAre("dao.toml:1:12: include[0]: wrong type: the integer 1"));
}

TEST_F(IncludeTest, AFileIsIncludedOnceAndNeverItself) {
  put("dao.toml", "include = [\"b.toml\", \"*.toml\", \"./b.toml\"]\n" + rule("own"));
  put("a.toml", rule("a"));
  put("b.toml", rule("b"));
  std::filesystem::create_symlink(dir_ / "a.toml", dir_ / "c.toml");
  const LoadResult loaded = load();
  ASSERT_TRUE(loaded) << errors().front();
  EXPECT_THAT(rules(loaded), ElementsAre("own", "b", "a"));
  EXPECT_THAT(relative(loaded->config.include_patterns), ElementsAre("*.toml"));
}

TEST_F(IncludeTest, PatternsAreRelativeToTheFileAndItsDirectoryIsTakenLiterally) {
  put("[odd]*/sites/x/dao.toml", rule("x"));
  put("[odd]*/sites/y/dao.toml", rule("y"));
  put("odd/sites/z/dao.toml", rule("z"));
  put("[odd]*/main.toml", "include = \"sites/?/dao.toml\"\n");
  const LoadResult loaded = load_file(dir_ / "[odd]*/main.toml");
  ASSERT_TRUE(loaded);
  EXPECT_THAT(rules(loaded), ElementsAre("x", "y"));
  EXPECT_THAT(relative(loaded->config.include_patterns), ElementsAre("\\[odd]\\*/sites/?/dao.toml"));

  put("main.toml", "include = \"" + path("odd/sites/*/d*.toml") + "\"\n");
  const LoadResult absolute = load_file(dir_ / "main.toml");
  ASSERT_TRUE(absolute);
  EXPECT_THAT(rules(absolute), ElementsAre("z"));
  EXPECT_THAT(relative(absolute->config.include_patterns), ElementsAre("odd/sites/*/d*.toml"));
}

// What a reload compares with is what was read: of files then, of a snapshot now.
TEST_F(IncludeTest, WhatWasReadIsTheSameOfTheFilesAndOfTheirBundle) {
  put("dao.toml", "include = \"conf.d/*.toml\"\n" + rule("own"));
  put("conf.d/a.toml", rule("a"));
  const LoadAttempt files = attempt_file(dir_ / "dao.toml");
  const LoadAttempt bundled = attempt_text(bundle(files.sources), "x");
  ASSERT_TRUE(files.document && bundled.document);
  EXPECT_EQ(diff(*files.document, *bundled.document), Changes{});

  put("conf.d/a.toml", rule("b"));
  const LoadAttempt other = attempt_file(dir_ / "dao.toml");
  ASSERT_TRUE(other.document);
  const Changes changes = diff(*files.document, *other.document);
  EXPECT_EQ(changes, diff(bundle(files.sources), bundle(other.sources)).value());
  EXPECT_EQ(changes.size(), 2U);
}

TEST_F(IncludeTest, AFailedLoadStillTellsWhatItLookedFor) {
  put("dao.toml", "include = [\"conf.d/*.toml\", \"missing.toml\"]\n" + rule("own"));
  put("conf.d/a.toml", "[server\n");
  const LoadAttempt attempt = attempt_file(dir_ / "dao.toml");
  EXPECT_FALSE(attempt.result);
  EXPECT_FALSE(attempt.document);
  EXPECT_THAT(relative(attempt.sources.paths), ElementsAre("dao.toml", "conf.d/a.toml", "missing.toml"));
  EXPECT_THAT(relative(attempt.sources.patterns), ElementsAre("conf.d/*.toml"));
  EXPECT_THAT(attempt_file(dir_ / "nothing.toml").sources.paths, ElementsAre(path("nothing.toml")));
}

TEST_F(IncludeTest, ATextIncludesOnlyWhatItHasADirectoryFor) {
  put("a.toml", rule("a"));
  const std::string text = "include = \"a.toml\"\n" + rule("own");
  const LoadResult without = load_text(text, "api");
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().front().message, "nothing can be included: this text is no file in a directory");
  EXPECT_EQ(without.error().front().file, "api");
  const LoadResult with = load_text(text, "api", dir_);
  ASSERT_TRUE(with);
  EXPECT_THAT(rules(with), ElementsAre("own", "a"));
  EXPECT_TRUE(load_text("include = []\n" + rule("own"), "api"));
}

TEST_F(IncludeTest, ABundleIsLoadedWithoutItsFiles) {
  put("dao.toml", "include = \"conf.d/*.toml\"\n" + rule("own"));
  put("conf.d/a.toml", rule("a") + "# no end of line");
  put("conf.d/b.toml", rule("b"));
  const LoadAttempt attempt = attempt_file(dir_ / "dao.toml");
  ASSERT_TRUE(attempt.result);
  const std::string text = bundle(attempt.sources);
  std::filesystem::remove_all(dir_ / "conf.d");
  const LoadResult again = load_text(text, "snapshot 7");
  ASSERT_TRUE(again) << again.error().front().message;
  EXPECT_THAT(rules(again), ElementsAre("own", "a", "b"));
  EXPECT_EQ(again->config.source, "snapshot 7");
  EXPECT_EQ(again->config.files, attempt.result->config.files);

  // Nothing matched then, and nothing is to be read now.
  put("dao.toml", "include = \"conf.d/*.toml\"\n" + rule("own"));
  const LoadAttempt alone = attempt_file(dir_ / "dao.toml");
  ASSERT_TRUE(alone.result);
  EXPECT_THAT(rules(load_text(bundle(alone.sources), "x")), ElementsAre("own"));

  // What is wrong in a part is said of that part.
  const LoadResult wrong = load_text("#:dao-file m\n" + rule("own") + "#:dao-file p\n[server]\nvai = 1\n", "x");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().front().file, "p");
  EXPECT_EQ(wrong.error().front().line, 2U);
  EXPECT_EQ(wrong.error().front().source_line, "vai = 1");
}

TEST(Bundle, IsTheTextItselfForOneFile) {
  const Sources one{.files = {{"a", "x = 1\n#:dao-file b\n"}}, .paths = {}, .patterns = {}};
  EXPECT_EQ(bundle(one), "x = 1\n#:dao-file b\n");
  const auto parts = unbundle(bundle(one));
  ASSERT_TRUE(parts);
  EXPECT_FALSE(*parts);
}

TEST(Bundle, RefusesTwoPartsOfOneName) {
  EXPECT_FALSE(unbundle("#:dao-file a\n#:dao-file a\n"));
  EXPECT_FALSE(unbundle("#:dao-file \n"));
  const LoadResult loaded = load_text("#:dao-file a\n#:dao-file a\n", "snapshot");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().front().message, "two parts have the name \"a\"");
}

// Whatever is in the files, markers and lines that look like them included, comes back byte for byte.
TEST(Bundle, GivesBackEveryByte) {
  std::mt19937 random(7);
  const std::vector<std::string> pieces = {"#:dao-file ", ">", "\n", "\r\n", "x", " (no newline at its end)",
                                           "\xff",        ""};
  for (int round = 0; round < 2000; ++round) {
    Sources sources;
    sources.patterns.emplace_back("d");
    const std::size_t files = 1 + random() % 4;
    for (std::size_t i = 0; i < files; ++i) {
      SourceFile& file = sources.files.emplace_back();
      file.name = "file " + std::to_string(i);
      for (std::size_t piece = random() % 12; piece > 0; --piece) file.text += pieces[random() % pieces.size()];
    }
    const auto parts = unbundle(bundle(sources));
    ASSERT_TRUE(parts && *parts);
    ASSERT_EQ((*parts)->files.size(), files);
    for (std::size_t i = 0; i < files; ++i) {
      ASSERT_EQ((*parts)->files[i].name, sources.files[i].name);
      ASSERT_EQ((*parts)->files[i].text, sources.files[i].text) << bundle(sources);
    }
  }
}

}  // namespace
}  // namespace dao::config
