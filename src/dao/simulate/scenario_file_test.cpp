#include "dao/simulate/scenario_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "dao/config/check_report.h"

namespace dao::simulate {
namespace {

constexpr std::string_view kValid =
    "seconds = 10\n"                                                    // 1
    "[arrivals]\nload = 0.5\n"                                          // 2, 3
    "[[backends]]\nname = \"a\"\ncount = 2\nmean_ms = 10\n"             // 4..7
    "[[backends]]\nname = \"b\"\nmean_ms = 5\nservice = \"pareto\"\n";  // 8..11

TEST(ScenarioFile, ReadsWhatIsThere) {
  const auto scenario = parse_scenario(std::string(kValid) +
                                           "[[faults]]\neffect = \"slow\"\nfactor = 3\nbackends = [\"a\", \"b\"]\n"
                                           "from_seconds = 1.5\n"
                                           "[[expect]]\npolicy = \"resonant\"\nfigure = \"p99_ms\"\nat_most = 0.5\n"
                                           "relative_to = \"round-robin\"\n",
                                       "dir/some.toml");
  ASSERT_TRUE(scenario) << config::render_text(scenario.error());
  EXPECT_EQ(scenario->name, "some");
  ASSERT_EQ(scenario->backends.size(), 3U);
  EXPECT_EQ(scenario->backends[0].name, "a-1");
  EXPECT_EQ(scenario->backends[1].group, "a");
  EXPECT_EQ(scenario->backends[2].name, "b");
  EXPECT_EQ(scenario->backends[2].service.distribution, Distribution::pareto);
  ASSERT_EQ(scenario->faults.size(), 1U);
  EXPECT_EQ(scenario->faults[0].backends, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(scenario->faults[0].from, std::chrono::milliseconds(1500));
  EXPECT_FALSE(scenario->faults[0].to);
  ASSERT_EQ(scenario->expectations.size(), 1U);
  EXPECT_EQ(scenario->expectations[0].relative, Relative::policy);
  EXPECT_DOUBLE_EQ(scenario->mean_rate(), 0.5 * (2 * 8 / 0.01 + 8 / 0.005));
}

struct Flaw {
  std::string text;
  std::string error;  // how the first line of the report begins
};

TEST(ScenarioFile, SaysWhatIsWrongAndWhere) {
  const std::string valid(kValid);
  const Flaw flaws[] = {
      {"seconds = ", "s.toml:1:"},
      {valid + "[[faults]]\neffect = \"slwo\"\nbackends = [\"a\"]\nfactor = 2\n",
       "s.toml:13:10: error: faults[0].effect: unknown value \"slwo\""},
      {valid + "[[faults]]\neffect = \"slow\"\nbackends = [\"a-3\"]\nfactor = 2\n",
       "s.toml:14:12: error: faults[0].backends: no backend is called \"a-3\""},
      {valid + "[[faults]]\neffect = \"slow\"\nbackends = [\"a\"]\n",
       "s.toml:12:1: error: faults[0].factor: \"factor\" is missing"},
      {valid + "[[faults]]\neffect = \"hang\"\nbackends = [\"a\"]\nfrom_seconds = 5\nto_seconds = 4\n",
       "s.toml:16:14: error: faults[0].to_seconds: it ends before it begins"},
      {valid + "[[faults]]\neffect = \"hang\"\nbackends = [\"a\"]\nfactor = 5\n",
       "s.toml:15:1: error: faults[0].factor: unknown key \"factor\""},
      {valid + "[[faults]]\neffect = \"cold\"\nfactor = 3\nbackends = [\"a\"]\n",
       "s.toml:13:10: error: faults[0].effect: what is cold gets warm"},
      {valid + "[[faults]]\neffect = \"hang\"\nbackends = [\"a\"]\nrandom = true\n",
       "s.toml:15:10: error: faults[0].random: random are the lengths of episodes"},
      {valid + "[[expect]]\npolicy = \"resonant\"\nfigure = \"p98_ms\"\nat_most = 1\n",
       "s.toml:14:10: error: expect[0].figure: unknown figure \"p98_ms\""},
      {valid + "[[expect]]\npolicy = \"resonant\"\nfigure = \"p99_ms\"\n",
       "s.toml:12:1: error: expect[0]: nothing is expected"},
      {valid + "[[expect]]\npolicy = \"resonnant\"\nfigure = \"p99_ms\"\nat_most = 1\n",
       "s.toml:13:10: error: expect[0].policy: no policy is called \"resonnant\""},
      {valid + "[[backends]]\nname = \"b\"\nmean_ms = 5\n", "s.toml:13:8: error: backends[2].name: \"b\" is taken"},
      {valid + "[[backends]]\nname = \"c\"\n", "s.toml:12:1: error: backends[2].mean_ms: \"mean_ms\" is missing"},
      {valid + "[[backends]]\nname = \"c\"\nmean_ms = 0\n",
       "s.toml:14:11: error: backends[2].mean_ms: 0 is out of range"},
      {valid + "[[backends]]\nname = \"c\"\nmean_ms = 1\nslots = 1.5\n",
       "s.toml:15:9: error: backends[2].slots: wrong type"},
      {"seconds = 10\nsteps = 1\n[arrivals]\nrate = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n",
       "s.toml:2:1: error: steps: unknown key \"steps\""},
      {"seconds = 10\npolicies = [\"round-robbin\"]\n[arrivals]\nrate = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n",
       "s.toml:2:12: error: policies: no policy is called \"round-robbin\""},
      {"seconds = 10\n[arrivals]\nrate = 1\nload = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n",
       "s.toml:4:8: error: arrivals.load: the arrivals need a rate"},
      {"seconds = 10\n[arrivals]\nrate = 1\nload = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n", "s.toml:4:8"},
      {"[arrivals]\nrate = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n",
       "s.toml: error: seconds: the length is missing"},
      {"seconds = 1\n[arrivals]\nrate = 1\n", "s.toml: error: backends: there are no backends"},
      {"seconds = 1\nwarm_up_seconds = 1\n[arrivals]\nrate = 1\n[[backends]]\nname = \"a\"\nmean_ms = 1\n",
       "s.toml:2:19: error: warm_up_seconds: nothing comes after the warm-up"},
  };
  for (const Flaw& flaw : flaws) {
    const auto scenario = parse_scenario(flaw.text, "s.toml");
    ASSERT_FALSE(scenario) << flaw.text;
    const std::string report = config::render_text(scenario.error());
    EXPECT_TRUE(report.starts_with(flaw.error)) << "wanted: " << flaw.error << "\ngot: " << report;
  }
}

TEST(ScenarioFile, SuggestsTheNearest) {
  const auto scenario =
      parse_scenario(std::string(kValid) + "[[faults]]\neffect = \"slwo\"\nbackends = [\"a\"]\n", "s");
  ASSERT_FALSE(scenario);
  EXPECT_NE(config::render_text(scenario.error()).find("slow"), std::string::npos);
}

TEST(ScenarioFile, TheShippedOnesAreValid) {
  const char* source = std::getenv("DAO_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "set DAO_SOURCE_DIR to the source tree (ctest does)";
  std::size_t read = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(source) + "/configs/scenarios")) {
    if (entry.path().extension() != ".toml") continue;
    const auto scenario = load_scenario(entry.path());
    EXPECT_TRUE(scenario) << config::render_text(scenario.error());
    if (scenario) EXPECT_FALSE(scenario->about.empty()) << entry.path();
    ++read;
  }
  EXPECT_GE(read, 13U);
}

class TraceFile : public testing::Test {
 protected:
  std::expected<std::vector<std::uint32_t>, std::string> read(std::string_view text) {
    const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "dao_trace_test.txt";
    std::ofstream(path) << text;
    auto trace = read_trace(path);
    std::filesystem::remove(path);
    return trace;
  }
};

TEST_F(TraceFile, HoldsNumbers) {
  EXPECT_EQ(*read("1 0 3\n17\t2 \r\n"), (std::vector<std::uint32_t>{1, 0, 3, 17, 2}));
}

TEST_F(TraceFile, SaysWhatIsWrongAndWhere) {
  EXPECT_NE(read("1 2\n3 x4\n").error().find(":2: \"x4\" is not a number"), std::string::npos);
  EXPECT_NE(read("1 -2\n").error().find(":1: \"-2\""), std::string::npos);
  EXPECT_NE(read("99999999999\n").error().find("not a number"), std::string::npos);
  EXPECT_NE(read("0 0 0\n").error().find("has no requests"), std::string::npos);
  EXPECT_NE(read("").error().find("has no requests"), std::string::npos);
  EXPECT_NE(read("BZh91AY").error().find("compressed"), std::string::npos);
  EXPECT_NE(read_trace("/nowhere/at/all").error().find("cannot open"), std::string::npos);
}

}  // namespace
}  // namespace dao::simulate
