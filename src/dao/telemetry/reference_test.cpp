// docs/metrics.md and docs/access-log.md must be what the tables say. With DAO_UPDATE_DOCS set the pages are written
// instead: DAO_UPDATE_DOCS=1 ctest -R unit.telemetry
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "dao/telemetry/access_log_format.h"
#include "dao/telemetry/metrics.h"

namespace dao::telemetry {
namespace {

void expect_page(const std::string& name, const std::string& expected) {
  const char* root = std::getenv("DAO_SOURCE_DIR");
  ASSERT_NE(root, nullptr) << "run by ctest, or set DAO_SOURCE_DIR";
  const std::string path = std::string{root} + "/docs/" + name;
  if (std::getenv("DAO_UPDATE_DOCS") != nullptr) {
    std::ofstream(path) << expected;
    return;
  }
  std::ifstream file(path);
  const std::string found{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(found, expected) << "write the page anew: DAO_UPDATE_DOCS=1 ctest -R unit.telemetry";
}

TEST(ReferenceTest, MetricsPageIsCurrent) {
  expect_page("metrics.md", render_metrics_reference());
}

TEST(ReferenceTest, AccessLogPageIsCurrent) {
  expect_page("access-log.md", render_access_log_reference());
}

}  // namespace
}  // namespace dao::telemetry
