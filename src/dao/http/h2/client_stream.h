// One exchange over an HTTP/2 connection to a backend. Destroying it before both directions are complete resets the
// stream (CANCEL); the connection goes on. One thread.
//
// Memory: at most kStreamWindow of a response's body that was not consumed yet, in blocks, of which two may be part
// empty; one response head and at most `interim_responses_max` interim ones within the limits on heads; the first piece
// of the request's body, copied.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/http/client_exchange.h"
#include "dao/http/h2/body_queue.h"
#include "dao/http/h2/client_session.h"
#include "dao/http/h2/field_section.h"
#include "dao/rt/event.h"
#include "dao/rt/frame_pool.h"

namespace dao::http::h2 {

class ClientStream final : public ClientExchange {
 public:
  explicit ClientStream(std::shared_ptr<ClientSession> session);
  ~ClientStream() override;
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  static void* operator new(std::size_t size) { return rt::FramePool::allocate(size); }
  static void operator delete(void* stream, std::size_t size) noexcept { rt::FramePool::release(stream, size); }

  [[nodiscard]] ClientSession& session() const { return *session_; }

  // Returns when the request is queued; `first` was copied.
  rt::Task<Result<>> send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                  std::span<const Field> trailers, Nanoseconds connecting, Nanoseconds stall,
                                  rt::Cancel* cancel) override;
  // Returns when the connection has taken the bytes, within the backend's windows.
  rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                               rt::Cancel* cancel) override;
  rt::Task<Result<>> read_head(ResponseHead& head, Method request_method, const HeadLimits& limits, Instant deadline,
                               rt::Cancel* cancel) override;
  void start_body(const ResponseHead& head, const HeadLimits& limits) override;
  Result<BodyPiece> take_buffered_body() override;
  rt::Task<Result<BodyPiece>> read_body(Instant deadline, rt::Cancel* cancel) override;
  [[nodiscard]] std::span<const Field> trailers() const override { return trailers_; }
  [[nodiscard]] bool reusable(const ResponseHead& head) override;
  [[nodiscard]] bool requires_h1() const override { return reset_code_ == ErrorCode::http_1_1_required; }

 private:
  friend class ClientSession;

  Result<> submit(const RequestHead& head, std::string_view base_path, BodyPiece first,
                  std::span<const Field> trailers);
  Result<> take_head(ResponseHead& head, Method request_method);
  // The stream begins; its head goes into the output.
  void begin();
  void end_head();
  // The request may have reached the backend.
  [[nodiscard]] Sent sent() const;
  // What is left of the request's body, as far as it is here.
  [[nodiscard]] std::size_t unsent() const { return first_.size() - first_taken_ + piece_.size(); }

  // What the connection tells (ClientSession).
  [[nodiscard]] DataOffer offer(std::size_t most) const;
  std::span<const char> take(std::size_t bytes);
  void request_ended();
  void section_began();
  [[nodiscard]] bool add_field(const HpackField& field, FieldId id);
  // False: more interim heads than allowed.
  [[nodiscard]] bool section_complete(bool ends_stream);
  void add_body(std::span<const char> bytes);
  void remote_ended();
  void stream_closed(ErrorCode code, bool by_peer);
  void fail(Error error);

  std::shared_ptr<ClientSession> session_;
  std::size_t slot_ = 0;  // in the session's list
  std::uint32_t id_ = 0;  // 0: not begun yet

  // The request.
  rt::Event outgoing_;  // connected, bytes taken, or failed
  std::string first_;
  std::size_t first_taken_ = 0;
  std::span<const char> piece_;  // the caller's, until it was taken
  std::span<const Field> trailers_out_;
  std::uint64_t taken_ = 0;
  std::unique_ptr<FieldSection> request_;  // the head, while it waits for its turn
  bool is_head_ = false;
  bool bodiless_ = false;
  bool last_ = false;
  bool request_done_ = false;
  std::uint64_t in_output_ = 0;  // the session's outputs_taken_ when it began

  // The response.
  rt::Event incoming_;                     // a head, a piece, the end, or a failure
  std::unique_ptr<FieldSection> section_;  // being received
  std::unique_ptr<FieldSection> heads_;    // complete and not handed out; the oldest first
  std::unique_ptr<FieldSection> current_;  // the head that was handed out
  std::unique_ptr<FieldSection> trailer_section_;
  std::uint32_t interim_heads_ = 0;
  std::vector<Field> trailers_;
  BodyQueue body_;
  std::size_t handed_out_ = 0;  // bytes at the front of body_ that the last piece occupies
  std::size_t section_bytes_ = 0;
  bool final_head_came_ = false;
  bool no_body_ = false;  // whatever the backend sends is not a body (HEAD, 204, 304)
  bool remote_ended_ = false;
  bool closed_ = false;
  std::optional<ErrorCode> reset_code_;  // of a RST_STREAM that came
  std::optional<Error> failure_;
};

}  // namespace dao::http::h2
