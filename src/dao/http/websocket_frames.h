// Follows the frames of one direction of a WebSocket connection (RFC 6455 section 5.2) as their bytes pass, to know
// where one ends and what kind it was. Payloads are stepped over: nothing is copied, unmasked or judged, and neither is
// what the header says (reserved bits, unknown opcodes, masks): that is for the endpoints. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace dao::http {

class WebSocketFrames {
 public:
  // Follows `bytes` as far as the end of the present frame, or to their own end; returns how many those are. O(1) for
  // each header byte and each payload, whatever its size.
  std::size_t follow_frame(std::span<const char> bytes);
  // Follows all of `bytes`, but stops behind a Close: nothing may come after it (section 5.5.1). Returns how many were
  // followed.
  std::size_t follow(std::span<const char> bytes);

  // What was followed ends with a whole frame, or nothing was: another frame may be put in here. Never true again once
  // a length was beyond what section 5.2 allows: from there on nobody can tell frames.
  [[nodiscard]] bool at_boundary() const { return state_ == State::header && have_ == 0; }
  // A Close frame has passed, whole.
  [[nodiscard]] bool closed() const { return closed_; }

  // Whole messages (section 5.4) of text or binary; fragments count as the message they make up.
  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  [[nodiscard]] std::uint64_t pings() const { return pings_; }

 private:
  static constexpr std::size_t kHeaderMost = 14;  // two bytes, a length of 64 bits, a mask
  enum class State : std::uint8_t { header, payload, lost };

  // Of the header begun in header_; 2 until its second byte is there.
  [[nodiscard]] std::size_t header_size() const;
  void header_complete();
  void frame_complete();

  std::array<unsigned char, kHeaderMost> header_{};
  std::uint8_t have_ = 0;  // bytes of the header
  State state_ = State::header;
  bool closed_ = false;
  std::uint64_t left_ = 0;  // of the payload
  std::uint64_t messages_ = 0;
  std::uint64_t pings_ = 0;
};

}  // namespace dao::http
