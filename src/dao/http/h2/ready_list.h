// The streams of a connection that may have DATA to send, in the order in which they get their turn: the more urgent
// first (RFC 9218 section 10), among equals whoever came first. One thread.
#pragma once

#include "dao/http/h2/stream_state.h"

namespace dao::http::h2 {

class ReadyList {
 public:
  [[nodiscard]] StreamState* first() const { return first_; }

  // Behind all that are as urgent. O(less urgent ones).
  void add(StreamState& stream) {
    if (stream.ready) return;
    StreamState* before = last_;
    while (before != nullptr && before->priority.urgency > stream.priority.urgency) before = before->previous_ready;
    stream.ready = true;
    stream.previous_ready = before;
    stream.next_ready = before == nullptr ? first_ : before->next_ready;
    (before == nullptr ? first_ : before->next_ready) = &stream;
    (stream.next_ready == nullptr ? last_ : stream.next_ready->previous_ready) = &stream;
  }
  void remove(StreamState& stream) {
    if (!stream.ready) return;
    (stream.previous_ready == nullptr ? first_ : stream.previous_ready->next_ready) = stream.next_ready;
    (stream.next_ready == nullptr ? last_ : stream.next_ready->previous_ready) = stream.previous_ready;
    stream.ready = false;
    stream.next_ready = stream.previous_ready = nullptr;
  }
  // It had its turn: those that are as urgent come before it.
  void rotate(StreamState& stream) {
    if (!stream.ready || stream.next_ready == nullptr) return;
    remove(stream);
    add(stream);
  }

 private:
  StreamState* first_ = nullptr;
  StreamState* last_ = nullptr;
};

}  // namespace dao::http::h2
