// The HTTP/2 Exchange: one request on a ServerSession, made when its head is complete. Internal to http/h2. After
// upgrade() its DATA frames are a byte stream in both directions (server_tunnel.h).
//
// The session calls what is under "for the session"; nothing of that resumes anybody inside the call. After the stream
// was lost (reset, or its connection ended) every operation fails with why, and nothing is asked of the session any
// more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dao/http/exchange.h"
#include "dao/http/h2/body_queue.h"
#include "dao/http/h2/connection.h"
#include "dao/http/h2/request_assembler.h"
#include "dao/http/h2/server_tunnel.h"
#include "dao/http/request_handler.h"
#include "dao/rt/event.h"
#include "dao/rt/frame_pool.h"

namespace dao::http::h2 {

class ServerSession;

class ServerStream final : public Exchange {
 public:
  ServerStream(ServerSession& session, std::uint32_t id, std::unique_ptr<RequestHead> head);
  static void* operator new(std::size_t size) { return rt::FramePool::allocate(size); }
  static void operator delete(void* stream, std::size_t size) noexcept { rt::FramePool::release(stream, size); }

  RequestHead& request() override { return *head_; }
  [[nodiscard]] const net::Peer& peer() const override;
  [[nodiscard]] const net::TlsFacts* tls() const override;
  [[nodiscard]] bool reused_connection() const override { return id_ > 1; }
  [[nodiscard]] Instant started() const override { return started_; }
  Result<BodyPiece> take_buffered_body() override;
  rt::Task<Result<BodyPiece>> read_body(rt::Cancel* cancel, Nanoseconds grace) override;
  [[nodiscard]] bool body_read_to_end() const override { return read_to_end_; }
  [[nodiscard]] std::span<const Field> request_trailers() const override { return trailers_; }
  [[nodiscard]] std::uint64_t request_body_bytes() const override { return body_bytes_; }
  void watch_client(rt::Cancel* cancel) override;
  rt::Task<Result<>> send_interim(const ResponseHead& head) override;
  rt::Task<Result<>> send_head(ResponseHead& head, BodyFraming framing, BodyPiece first) override;
  rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers) override;
  [[nodiscard]] bool head_sent() const override { return head_sent_; }
  [[nodiscard]] std::uint64_t response_body_bytes() const override { return sent_bytes_; }
  rt::Task<Result<UpgradedStream>> upgrade(ResponseHead& head) override;
  void abort() override { aborted_ = true; }
  void close_after() override {}  // an answer ends its stream, not the connection

  // For the session.
  [[nodiscard]] std::uint32_t id() const { return id_; }
  void body_arrived(std::span<const char> bytes);
  void body_ended();
  Result<> trailers_arrived(RequestAssembler& assembler) { return assembler.finish_trailers(trailer_text_, trailers_); }
  // The client, or the connection, is gone.
  void lose(ErrorKind why);
  [[nodiscard]] bool lost() const { return lost_ != ErrorKind::none; }
  // How much of at most `most` bytes goes into the next DATA frame. Nothing: not now.
  [[nodiscard]] DataOffer offer(std::size_t most) const;
  // The next `bytes` of what was offered, as they go out.
  std::span<const char> take(std::size_t bytes);
  [[nodiscard]] bool all_taken() const { return outbox_.empty(); }
  void end_sent();  // the end of the answer went out
  [[nodiscard]] bool complete() const { return end_sent_ && !aborted_; }
  [[nodiscard]] bool request_complete() const { return input_ended_; }
  // What is still unread of the body is thrown away. How many bytes the connection's window still misses for it.
  std::size_t discard_body();
  [[nodiscard]] bool tunnelled() const { return tunnel_.has_value(); }
  // Says the end of a stream that has left HTTP, and gives the client time to end its side.
  rt::Task<> end_tunnel();
  std::unique_ptr<RequestHead> take_head() { return std::move(head_); }

  std::size_t position = 0;       // in the session's list
  bool closed = false;            // the session has forgotten the stream
  std::optional<Error> rejected;  // the request was not understood

 private:
  friend class ServerTunnel;

  [[nodiscard]] Error why_lost() const;
  [[nodiscard]] Result<BodyPiece> next_piece();
  void release_piece();
  rt::Task<Result<>> until_taken();
  // For the tunnel.
  void consume_input(std::size_t bytes);
  void pledge(std::span<const char> bytes);
  [[nodiscard]] bool others_move() const;

  ServerSession& session_;
  std::uint32_t id_;
  std::unique_ptr<RequestHead> head_;
  Instant started_;
  ErrorKind lost_ = ErrorKind::none;
  rt::Cancel* watch_ = nullptr;

  BodyQueue inbox_;
  rt::Event arrived_;
  std::size_t handed_out_ = 0;  // bytes at the front of inbox_ that the last piece occupies
  std::uint64_t body_bytes_ = 0;
  Nanoseconds waited_for_body_{};
  bool input_ended_ = false;
  bool read_to_end_ = false;
  std::string trailer_text_;
  std::vector<Field> trailers_;

  rt::Event taken_;
  std::span<const char> outbox_;  // of the piece being sent; its owner waits
  std::span<const Field> out_trailers_;
  std::uint64_t sent_bytes_ = 0;
  bool last_given_ = false;  // outbox_ is the end of the body
  bool no_body_ = false;     // the answer is its head: HEAD, 204, 304
  bool head_sent_ = false;
  bool end_sent_ = false;
  bool aborted_ = false;

  std::optional<ServerTunnel> tunnel_;
  std::size_t relieved_ = 0;  // bytes of inbox_ that the connection's window does not wait for
};

}  // namespace dao::http::h2
