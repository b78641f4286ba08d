// One HTTP/2 connection to a backend server (RFC 9113, the client's role) that many exchanges share. The pool
// (upstream/pool.h) decides which exchange goes over which connection. One thread.
//
// A task of its own reads and writes for as long as the connection lives; exchanges (ClientStream) only leave work for
// it. All frames that exchanges have for the backend in one turn of the loop leave in one write. Connection does
// framing and HPACK; what it answers by itself (acknowledgements) it bounds.
//
// Memory: one block for reading (while bytes are there), two blocks for writing (while the backend does not take them),
// and for each stream what client_stream.h says. The stream window is kStreamWindow, given back as the
// request path consumes; the connection's window is given back at once, so a stream that nobody reads stops itself
// only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/http/buffer.h"
#include "dao/http/h2/connection.h"
#include "dao/http/h2/field_section.h"
#include "dao/http/h2/output_block.h"
#include "dao/http/head.h"
#include "dao/net/stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/event.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"

namespace dao::http::h2 {

class ClientStream;

struct ClientSettings {
  HeadLimits response_limits{.target_max_bytes = 0, .head_max_bytes = 65536, .fields_max = 1000};
  std::uint32_t interim_responses_max = 16;
  std::size_t max_streams = 100;  // beyond these the pool opens another connection
  Nanoseconds idle_timeout = std::chrono::seconds(60);
  Nanoseconds ping_after = std::chrono::seconds(10);   // of silence while exchanges wait
  Nanoseconds ping_timeout = std::chrono::seconds(5);  // for the answer; then the connection is dead
  Nanoseconds write_stall = std::chrono::seconds(60);  // in which the backend takes nothing
  bool secure = false;                                 // :scheme is https
};

inline constexpr std::size_t kStreamWindow = std::size_t{256} * 1024;
inline constexpr std::size_t kConnectionWindow = std::size_t{1024} * 1024;

class ClientSession final : public std::enable_shared_from_this<ClientSession>, private ConnectionEvents {
 public:
  // Takes over a stream that may still be connecting, and starts the task.
  static std::shared_ptr<ClientSession> start(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers,
                                              const ClientSettings& settings);
  ~ClientSession();  // no stream may be left
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  // A new exchange. Only while usable(). It keeps the session, and ends the stream when it goes.
  std::unique_ptr<ClientStream> open();

  // The backend takes new streams: alive, no GOAWAY, identifiers left, not retired.
  [[nodiscard]] bool usable() const;
  // A new stream would begin at once.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::size_t streams() const { return streams_.size(); }
  // As the kernel sees it at this moment: not closed. One system call.
  [[nodiscard]] bool idle_and_open() { return stream_ != nullptr && stream_->idle_and_open(); }

  // Requested when the session ends; null when nobody wants to know.
  void watch_end(rt::Cancel* cancel) { end_watch_ = cancel; }

  // Takes no new exchanges; ends when the present ones have.
  void retire();
  // Ends now; exchanges fail.
  void close();

 private:
  friend class ClientStream;

  ClientSession(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers,
                const ClientSettings& settings);

  static rt::Task<> run(std::shared_ptr<ClientSession> self);
  rt::Task<Result<>> read_frames();
  rt::Task<Result<>> write_frames();
  Result<> receive(std::span<const char> bytes);
  // True when nothing is left to write, false when the backend does not take it.
  Result<bool> flush();
  void fill();
  [[nodiscard]] bool something_to_write() const;
  // No more streams than the backend takes at once: the others begin when there is room (RFC 9113 section 5.1.2).
  [[nodiscard]] bool may_begin() const;
  void begin_waiting();
  void fail_waiting();
  // What is to happen when nobody has work for the writer.
  [[nodiscard]] Instant next_timer() const;
  Result<> on_timer();
  [[nodiscard]] Error connection_error(Error error) const;
  void fail_streams(const Error& error);

  std::optional<ErrorCode> on_frame(const FrameHeader& header) override;
  void on_section(StreamState& state) override;
  bool on_field(StreamState& state, const HpackField& field, FieldId id) override;
  void on_section_end(StreamState& state, SectionKind kind, bool ends_stream) override;
  void on_data(StreamState& state, std::span<const char> bytes) override;
  void on_remote_end(StreamState& state) override;
  void on_malformed(StreamState& state) override;
  void on_close(StreamState& state, ErrorCode code, bool by_peer) override;
  void on_ping_answer(std::string_view payload) override;
  DataOffer offer(StreamState& state, std::size_t most) override;
  std::span<const char> take(StreamState& state, std::size_t bytes) override;
  void on_local_end(StreamState& state) override;

  // For ClientStream.
  void wake_writer() { work_.set(); }
  void remove(ClientStream& stream);
  // Bytes of the stream's body that the request path is done with.
  void consumed(std::uint32_t stream_id, std::size_t bytes);

  // Every frame costs a credit; those that bring something earn more.
  static constexpr int kCreditsForRequest = 8;
  bool spend_credit();
  void earn_credit(int credits);

  rt::Loop& loop_;
  std::unique_ptr<net::Stream> stream_;
  BufferPool& buffers_;
  ClientSettings settings_;
  OutputBlock output_;   // being filled
  OutputBlock sending_;  // being written, as far as sent_
  std::size_t sent_ = 0;
  std::uint64_t outputs_taken_ = 0;  // how often output_ became sending_
  Connection connection_;
  std::vector<ClientStream*> streams_;
  std::vector<ClientStream*> waiting_;  // of them; the oldest first
  FieldSections sections_;

  rt::Event work_;  // frames to write, or a reason to end
  rt::Cancel ending_;
  rt::Cancel* end_watch_ = nullptr;

  std::optional<Error> flaw_;  // the backend broke the protocol
  Instant last_read_;
  Instant busy_since_{};  // since when streams_ is not empty
  Instant idle_since_;
  Instant ping_sent_{};
  bool ping_outstanding_ = false;
  bool connected_ = false;
  bool blocked_ = false;  // the backend does not take what is written
  bool retired_ = false;
  bool closed_by_us_ = false;
  bool ended_ = false;
  int credits_;
  Instant credits_at_;
};

}  // namespace dao::http::h2
