// Reads HTTP/1.1 messages off a connection one after the other, keeping the start line and nothing of the body. For
// the bench programs, which talk only to programs they were started with; not a parser for hostile input. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chunked_skipper.h"
#include "head_fields.h"

namespace dao::bench {

class MessageReader {
 public:
  enum class Kind : std::uint8_t { kRequest, kResponse };
  explicit MessageReader(Kind kind) : kind_(kind) {}

  [[nodiscard]] bool done() const { return state_ == State::kDone; }
  [[nodiscard]] bool bad() const { return state_ == State::kBad; }
  // Nothing of the next message has arrived yet.
  [[nodiscard]] bool fresh() const { return state_ == State::kHead && partial_.empty(); }
  // Of a response; 0 before its head is complete.
  [[nodiscard]] int status() const { return status_; }
  // Of a request: "GET /small HTTP/1.1".
  [[nodiscard]] std::string_view start_line() const { return start_line_; }
  // The connection ends with this message.
  [[nodiscard]] bool close() const { return close_; }
  // Body bytes certain to follow: they may be dropped inside the kernel, then reported with `skipped`.
  [[nodiscard]] std::uint64_t known_remaining() const { return state_ == State::kLength ? left_ : 0; }
  void skipped(std::uint64_t bytes) {
    left_ -= bytes;
    if (left_ == 0) state_ = State::kDone;
  }

  // Consumes up to the end of the message and returns how many bytes of `data` belonged to it.
  std::size_t feed(std::string_view data) {
    std::size_t used = 0;
    while (used < data.size() && !done() && !bad()) used += step(data.substr(used));
    return used;
  }

  // The peer closed: completes a body that is delimited by the close, breaks off anything else.
  void end_of_stream() { state_ = state_ == State::kUntilClose ? State::kDone : State::kBad; }

  void reset() {
    state_ = State::kHead;
    status_ = 0;
    partial_.clear();
  }

 private:
  enum class State : std::uint8_t { kHead, kLength, kChunked, kUntilClose, kDone, kBad };
  static constexpr std::size_t kHeadMax = 65536;

  std::size_t step(std::string_view data) {
    switch (state_) {
      case State::kHead:
        return step_head(data);
      case State::kLength: {
        const auto take = std::min<std::uint64_t>(left_, data.size());
        skipped(take);
        return take;
      }
      case State::kChunked: {
        const auto take = chunks_.consume(data);
        if (chunks_.done()) state_ = State::kDone;
        if (chunks_.bad()) state_ = State::kBad;
        return take;
      }
      case State::kUntilClose:
      case State::kDone:
      case State::kBad:
        break;
    }
    return data.size();
  }

  std::size_t step_head(std::string_view data) {
    constexpr std::string_view kEnd = "\r\n\r\n";
    if (partial_.empty()) {
      const auto end = data.find(kEnd);
      if (end != std::string_view::npos) {
        take_head(data.substr(0, end + kEnd.size()));
        return end + kEnd.size();
      }
      partial_ = data;
      return data.size();
    }
    const auto before = partial_.size();
    partial_ += data;
    const auto end = partial_.find(kEnd, before < kEnd.size() ? 0 : before - kEnd.size() + 1);
    if (end == std::string::npos) {
      if (partial_.size() > kHeadMax) state_ = State::kBad;
      return data.size();
    }
    const std::string head = partial_.substr(0, end + kEnd.size());
    partial_.clear();
    take_head(head);
    return head.size() - before;
  }

  void take_head(std::string_view head) {
    const auto line = head.substr(0, head.find('\r'));
    const auto framing = framing_of(head);
    const bool http10 = line.find("HTTP/1.0") != std::string_view::npos;
    close_ = framing.close || (http10 && !framing.keep_alive);
    if (kind_ == Kind::kRequest) {
      start_line_ = line;
    } else if (!take_status(line)) {
      state_ = State::kBad;
      return;
    } else if (status_ < 200) {
      return;  // interim: the head of the real response follows
    }
    if (status_ == 204 || status_ == 304) {
      state_ = State::kDone;
    } else if (framing.chunked) {
      chunks_ = ChunkedSkipper{};
      state_ = State::kChunked;
    } else if (framing.content_length) {
      left_ = *framing.content_length;
      state_ = left_ == 0 ? State::kDone : State::kLength;
    } else {
      state_ = kind_ == Kind::kResponse ? State::kUntilClose : State::kDone;
    }
  }

  bool take_status(std::string_view line) {
    if (line.size() < 12 || !line.starts_with("HTTP/1.")) return false;
    const auto digits = line.substr(9, 3);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), status_);
    return parsed.ec == std::errc{} && status_ >= 100;
  }

  Kind kind_;
  State state_ = State::kHead;
  bool close_ = false;
  int status_ = 0;
  std::uint64_t left_ = 0;
  ChunkedSkipper chunks_;
  std::string start_line_;
  std::string partial_;
};

}  // namespace dao::bench
