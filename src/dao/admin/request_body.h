// The bodies of admin requests, whole and in memory. One thread, the service's.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

#include "dao/admin/answer.h"
#include "dao/http/exchange.h"
#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::admin {

// How many bytes of bodies are in memory, so that many large ones at once are not more than DAO can bear.
class BodyMemory {
 public:
  explicit BodyMemory(std::size_t most) : most_(most) {}

  // What one body takes of it; gives that back when it goes.
  class Share {
   public:
    explicit Share(BodyMemory& memory) : memory_(memory) {}
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    ~Share() { memory_.taken_ -= taken_; }
    // False, and nothing taken: there is no room for so many more.
    [[nodiscard]] bool take(std::size_t bytes) {
      if (bytes > memory_.most_ - memory_.taken_) return false;
      taken_ += bytes;
      memory_.taken_ += bytes;
      return true;
    }

   private:
    BodyMemory& memory_;
    std::size_t taken_ = 0;
  };

 private:
  std::size_t most_;
  std::size_t taken_ = 0;
};

// The whole body, at most `most` bytes: the error is the answer (413 above that, 503 when `share` has no room). Answers
// `Expect: 100-continue`. All references outlive it.
rt::Task<std::expected<std::string, Answer>> read_body(http::Exchange& exchange, std::size_t most,
                                                       BodyMemory::Share& share, rt::Cancel& cancel);

// The media type of the request without its parameters; empty without.
[[nodiscard]] std::string_view media_type(const http::RequestHead& request);

}  // namespace dao::admin
