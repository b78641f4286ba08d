#include "dao/sense/outcomes.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace dao::sense {
namespace {

Error backend(ErrorKind kind) {
  return {.origin = Origin::backend, .kind = kind};
}

TEST(OutcomesTest, OnlyTheBackendIsBlamed) {
  EXPECT_EQ(outcome_of(backend(ErrorKind::reset)), Outcome::transport);
  EXPECT_EQ(outcome_of(backend(ErrorKind::refused)), Outcome::refused);
  EXPECT_EQ(outcome_of(backend(ErrorKind::dns_error)), Outcome::refused);
  EXPECT_EQ(outcome_of(backend(ErrorKind::timeout_head)), Outcome::timeout);
  EXPECT_EQ(outcome_of(backend(ErrorKind::malformed)), Outcome::server_error);
  EXPECT_EQ(outcome_of(backend(ErrorKind::stream_reset)), Outcome::server_error);  // the connection lives
  EXPECT_EQ(outcome_of(backend(ErrorKind::cancelled)), Outcome::cancelled);
  EXPECT_EQ(outcome_of(Error{.origin = Origin::client, .kind = ErrorKind::reset}), Outcome::cancelled);
  EXPECT_EQ(outcome_of(Error{.origin = Origin::us, .kind = ErrorKind::io}), Outcome::cancelled);
  EXPECT_EQ(outcome_of(std::uint16_t{404}), Outcome::success);
  EXPECT_EQ(outcome_of(std::uint16_t{503}), Outcome::server_error);
}

TEST(OutcomesTest, ASuccessLeavesTheGateAlone) {
  OutcomeCounters own;
  Admission admission(1);
  admission.close(0);
  report_outcome(own, admission, 0, Outcome::success, 3);
  EXPECT_EQ(own[0].value(), 1U);
  EXPECT_EQ(admission.gate(0), Gate::closed);  // the mind opens it
  EXPECT_EQ(admission.failures_in_a_row(0), 0U);
}

TEST(OutcomesTest, ASuccessBreaksTheRow) {
  OutcomeCounters own;
  Admission admission(1);
  for (int i = 0; i < 10; ++i) {
    report_outcome(own, admission, 0, Outcome::transport, 3);
    report_outcome(own, admission, 0, Outcome::timeout, 3);
    report_outcome(own, admission, 0, Outcome::server_error, 3);  // neither breaks it nor adds to it
    EXPECT_EQ(admission.failures_in_a_row(0), 2U);
    report_outcome(own, admission, 0, Outcome::success, 3);
  }
  EXPECT_TRUE(admission.admits(0));
}

TEST(OutcomesTest, TheRowIsOfAllWorkers) {
  Admission admission(2);
  std::vector<std::thread> workers;
  for (int i = 0; i < 3; ++i) {
    workers.emplace_back([&admission] {
      OutcomeCounters own;
      report_outcome(own, admission, 1, Outcome::transport, 3);
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_FALSE(admission.admits(1));
  EXPECT_TRUE(admission.admits(0));
}

TEST(OutcomesTest, ADrainedUpstreamStaysDrained) {
  OutcomeCounters own;
  Admission admission(1);
  admission.drain(0, true);
  report_outcome(own, admission, 0, Outcome::refused, 3);
  admission.set_gate(0, Gate::open);
  EXPECT_FALSE(admission.admits(0));
  admission.drain(0, false);
  EXPECT_TRUE(admission.admits(0));
}

TEST(OutcomesTest, WithoutARowNothingCloses) {
  OutcomeCounters own;
  Admission admission(1);
  for (int i = 0; i < 100; ++i) report_outcome(own, admission, 0, Outcome::refused, 0);
  EXPECT_TRUE(admission.admits(0));
}

}  // namespace
}  // namespace dao::sense
