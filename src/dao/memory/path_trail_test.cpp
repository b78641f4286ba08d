#include "dao/memory/path_trail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dao/memory/temporary_folder.h"

namespace dao::memory {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

PathTrail trail_of(const std::string& path, bool pattern = false) {
  PathTrail trail;
  follow_path(path, pattern, trail);
  return trail;
}

TEST(PathTrail, LeadsOverEveryDirectoryToTheFile) {
  const TemporaryFolder folder;
  folder.make_directory("conf");
  folder.write("conf/dao.toml", "x");
  const PathTrail trail = trail_of(folder / "conf/dao.toml");
  EXPECT_THAT(trail.files, ElementsAre(folder / "conf/dao.toml"));
  EXPECT_THAT(trail.real_files, ElementsAre(folder / "conf/dao.toml"));
  EXPECT_THAT(trail.directories.at(folder / "conf").names, UnorderedElementsAre("dao.toml"));
  EXPECT_TRUE(trail.directories.at(folder / "conf").holds_files);
  EXPECT_THAT(trail.directories.at(folder.path()).names, UnorderedElementsAre("conf"));
  EXPECT_FALSE(trail.directories.at(folder.path()).holds_files);
  EXPECT_TRUE(trail.directories.contains("/"));
}

TEST(PathTrail, LeadsOverTheLinksOfAKubernetesVolume) {
  const TemporaryFolder folder;
  folder.make_directory("..2026_11_27");
  folder.write("..2026_11_27/dao.toml", "x");
  folder.link("..data", "..2026_11_27");
  folder.link("dao.toml", "..data/dao.toml");
  const PathTrail trail = trail_of(folder / "dao.toml");
  EXPECT_THAT(trail.files, ElementsAre(folder / "dao.toml"));
  EXPECT_THAT(trail.real_files, ElementsAre(folder / "..2026_11_27/dao.toml"));
  EXPECT_THAT(trail.directories.at(folder.path()).names, UnorderedElementsAre("dao.toml", "..data", "..2026_11_27"));
  EXPECT_THAT(trail.directories.at(folder / "..2026_11_27").names, UnorderedElementsAre("dao.toml"));
}

TEST(PathTrail, FollowsAbsoluteLinksAndLinksOfDirectories) {
  const TemporaryFolder folder;
  folder.make_directory("a/real");
  folder.write("a/real/x", "x");
  folder.link("b", folder / "a");
  folder.link("a/linked", "../a/real");
  const PathTrail trail = trail_of(folder / "b/linked/x");
  EXPECT_THAT(trail.files, ElementsAre(folder / "b/linked/x"));
  EXPECT_THAT(trail.real_files, ElementsAre(folder / "a/real/x"));
  EXPECT_TRUE(trail.directories.at(folder.path()).concerns("b"));
  EXPECT_TRUE(trail.directories.at(folder / "a").concerns("linked"));
}

TEST(PathTrail, WhatIsMissingIsANameInTheLastDirectoryThereIs) {
  const TemporaryFolder folder;
  const PathTrail trail = trail_of(folder / "not/there/dao.toml");
  EXPECT_THAT(trail.files, ElementsAre(folder / "not/there/dao.toml"));
  EXPECT_THAT(trail.real_files, IsEmpty());
  EXPECT_TRUE(trail.directories.at(folder.path()).concerns("not"));
  EXPECT_FALSE(trail.directories.contains(folder / "not"));
}

TEST(PathTrail, LinksInACircleEnd) {
  const TemporaryFolder folder;
  folder.link("a", "b");
  folder.link("b", "a");
  const PathTrail trail = trail_of(folder / "a");
  EXPECT_THAT(trail.files, ElementsAre(folder / "a"));
  EXPECT_THAT(trail.real_files, IsEmpty());
  EXPECT_TRUE(trail.directories.at(folder.path()).concerns("b"));
}

TEST(PathTrail, TwoDotsGoUpFromWhereALinkHasLed) {
  const TemporaryFolder folder;
  folder.make_directory("deep/er");
  folder.write("deep/x", "x");
  folder.link("link", "deep/er");
  const PathTrail trail = trail_of(folder / "link/../x");
  EXPECT_THAT(trail.files, ElementsAre(folder / "link/../x"));
  EXPECT_THAT(trail.real_files, ElementsAre(folder / "deep/x"));
}

TEST(PathTrail, APatternIsWhatIsThereAndWhatMayCome) {
  const TemporaryFolder folder;
  folder.make_directory("conf.d/one");
  folder.make_directory("conf.d/two");
  folder.write("conf.d/one/b.toml", "x");
  folder.write("conf.d/one/a.toml", "x");
  folder.write("conf.d/one/.hidden.toml", "x");
  folder.write("conf.d/one/a.toml~", "x");
  folder.write("conf.d/two/[c].toml", "x");
  const PathTrail trail = trail_of(folder / "conf.d/*/*.toml", true);
  EXPECT_THAT(trail.files,
              ElementsAre(folder / "conf.d/one/a.toml", folder / "conf.d/one/b.toml", folder / "conf.d/two/[c].toml"));
  EXPECT_TRUE(trail.directories.at(folder / "conf.d").concerns("three"));
  EXPECT_TRUE(trail.directories.at(folder / "conf.d/two").concerns("new.toml"));
  EXPECT_FALSE(trail.directories.at(folder / "conf.d/two").concerns("new.txt"));
  EXPECT_FALSE(trail.directories.at(folder / "conf.d/two").concerns(".new.toml"));
}

TEST(PathTrail, APatternMayMatchNothing) {
  const TemporaryFolder folder;
  EXPECT_THAT(trail_of(folder / "*.toml", true).files, IsEmpty());
  EXPECT_THAT(trail_of(folder / "conf.d/*.toml", true).files, IsEmpty());
  EXPECT_THAT(trail_of(folder / "plain.toml", true).files, IsEmpty());
  folder.write("plain.toml", "x");
  EXPECT_THAT(trail_of(folder / "plain.toml", true).files, ElementsAre(folder / "plain.toml"));
}

TEST(PathTrail, WildcardsOfAPathThatIsNoPatternAreCharacters) {
  const TemporaryFolder folder;
  folder.write("a", "x");
  EXPECT_THAT(trail_of(folder / "*").files, ElementsAre(folder / "*"));
  EXPECT_THAT(trail_of(folder / "*").real_files, IsEmpty());
}

TEST(PathTrail, PathsAreMadeAbsolute) {
  EXPECT_EQ(absolute_path("/a//b/./c/"), "/a/b/c");
  EXPECT_EQ(absolute_path("/"), "/");
  EXPECT_EQ(absolute_path("/a/../b"), "/a/../b");
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(absolute_path("x/y"), here + "/x/y");
}

}  // namespace
}  // namespace dao::memory
