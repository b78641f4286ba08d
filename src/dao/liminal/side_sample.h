// What a worker tells of one finished request while a transition runs: which side served it, whose it was, how long it
// took and whether it failed. It travels as a word of a sense::SampleRing that is used for nothing else, one for each
// worker, made when the transition begins: a worker without a transition pays a look at a null pointer.
#pragma once

#include <cstdint>

#include "dao/liminal/side_of.h"
#include "dao/sense/log_histogram.h"
#include "dao/sense/sample_ring.h"
#include "dao/sense/shard.h"

namespace dao::liminal {

struct SideSample {
  Side side = Side::old_config;
  std::uint16_t cell = 0;  // cell_of() the client's point
  bool failed = false;     // failed_request()
  // Of the time from the request's head to the answer's, or to giving up: sense::log_bucket_of().
  std::uint16_t bucket = 0;
};

constexpr sense::Sample to_word(const SideSample& sample) {
  return {.kind = sense::SampleKind::request,
          .number = std::uint32_t{sample.cell} << 2U | (sample.failed ? 2U : 0U) |
                    (sample.side == Side::new_config ? 1U : 0U),
          .bucket = sample.bucket};
}

constexpr SideSample from_word(const sense::Sample& word) {
  return {
      .side = (word.number & 1U) != 0 ? Side::new_config : Side::old_config,
      .cell = static_cast<std::uint16_t>((word.number >> 2U) % kCells),
      .failed = (word.number & 2U) != 0,
      .bucket = word.bucket < sense::kLogBuckets ? word.bucket : static_cast<std::uint16_t>(sense::kLogBuckets - 1)};
}

// How a request ended, as far as it matters here.
struct Ended {
  std::uint16_t status = 0;                    // of the answer, whoever made it; 0: none was sent
  bool matched_rule = true;                    // false: DAO's own answer, for want of a rule
  bool client_left = false;                    // before there was an answer
  bool cut_off = false;                        // the upstream did not get to the end of its answer
  std::uint8_t grpc_status = sense::kNotGrpc;  // as in sense::FinishedRequest
};

// An answer of 5xx, none at all, half of one, a 404 for want of a rule (which is what a rule that was lost or mistyped
// looks like), or a gRPC call that ended without a status or with one that stands for a server's failure: UNKNOWN,
// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. A client that left is no failure; how long it
// waited counts.
constexpr bool failed_request(const Ended& ended) {
  if (ended.status == 0) return !ended.client_left;
  if (ended.cut_off) return true;
  if (ended.status >= 500 || (ended.status == 404 && !ended.matched_rule)) return true;
  switch (ended.grpc_status) {
    case 2:
    case 4:
    case 12:
    case 13:
    case 14:
    case 15:
    case sense::kNoGrpcStatus:
      return true;
    default:
      return false;
  }
}

}  // namespace dao::liminal
