// One HTTP/2 connection of a client (RFC 9113): a stream for each request, each with a task of its own that calls the
// handler with an Exchange. Connection knows frames, HPACK and the state of streams; what is read and written, and
// when, is decided here. One thread, that of the loop.
//
// Bounds: a request's body waits in the stream's window and is given back to the client as the request path consumes
// it; answers are taken from their senders only when there is room in the output buffer (kOutputMax). Everything that
// became ready in one batch of the loop leaves in one write.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/http/buffer.h"
#include "dao/http/h2/connection.h"
#include "dao/http/h2/flood.h"
#include "dao/http/h2/frame_watch.h"
#include "dao/http/h2/output_block.h"
#include "dao/http/h2/request_assembler.h"
#include "dao/http/h2/server_stream.h"
#include "dao/http/request_handler.h"
#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/event.h"
#include "dao/rt/loop.h"

namespace dao::http::h2 {

class ServerSession final : private ConnectionEvents {
 public:
  // `drain` tells the connection to end when its streams have. All references outlive serve().
  ServerSession(rt::Loop& loop, std::unique_ptr<net::Stream> stream, net::Peer peer, BufferPool& buffers,
                const ServerSettings& settings, RequestHandler& handler, rt::Cancel& drain);
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;
  ~ServerSession() = default;

  // Until the connection is closed. `already_read`: its first bytes, if somebody had to read them to find out that this
  // is HTTP/2.
  rt::Task<> serve(std::string already_read);

 private:
  friend class ServerStream;
  struct SessionTimer : rt::Timer {
    ServerSession* session = nullptr;
  };
  struct DrainHook : rt::Cancel::Hook {
    ServerSession* session = nullptr;
  };

  // The two loops of a connection. Each ends when the connection does.
  rt::Task<Result<>> read_loop(std::string already_read);
  rt::Task<Result<>> write_loop();
  rt::Task<> run(std::unique_ptr<ServerStream> stream);
  rt::Task<> linger();

  void feed(std::string_view bytes);
  // Moves DATA of streams into the output buffer, while there is room.
  void pump();

  // The connection takes no more; what is queued is written, streams are lost.
  void end(std::optional<ErrorCode> code);  // code: what a GOAWAY says
  void end_by_flood(Flood flood);
  void connection_lost(ErrorKind why);
  void lose_streams(ErrorKind why);
  void begin_drain();
  void finish_drain();
  void arm_deadline();
  void deadline_passed();

  std::optional<ErrorCode> on_frame(const FrameHeader& header) override;
  std::optional<ErrorCode> on_padding_only() override;
  void on_section(StreamState& state) override;
  bool on_field(StreamState& state, const HpackField& field, FieldId id) override;
  void on_section_end(StreamState& state, SectionKind kind, bool ends_stream) override;
  void on_data(StreamState& state, std::span<const char> bytes) override;
  void on_remote_end(StreamState& state) override;
  void on_close(StreamState& state, ErrorCode code, bool by_peer) override;
  void on_reset_sent(ErrorCode code) override;
  void on_ping_answer(std::string_view payload) override;
  DataOffer offer(StreamState& state, std::size_t most) override;
  std::span<const char> take(StreamState& state, std::size_t bytes) override;
  void on_local_end(StreamState& state) override;

  void request_arrived(StreamState& state, bool ends_stream);
  [[nodiscard]] static ErrorCode code_for_rest(const ServerStream& stream);
  // Nothing but what is queued goes out any more.
  [[nodiscard]] bool over() const { return ended_ || lost_; }
  std::optional<ErrorCode> unless_flood(std::optional<Flood> flood);

  // For streams.
  void submit_interim(std::uint32_t id, const ResponseHead& head);
  void submit_head(std::uint32_t id, const ResponseHead& head, const std::uint64_t* length, bool ends_stream);
  void begin_answer(const ResponseHead& head);
  void resume(std::uint32_t id);
  void consumed(std::uint32_t id, std::size_t bytes);
  // Of a stream that has left HTTP: its bytes wait in the stream's window, but as far as websockets_hold_bytes reaches
  // not in the connection's, so that a backend that does not read stops one stream only. How many of `bytes` have come
  // off the connection's window.
  std::size_t relieve_connection(std::size_t bytes);
  // `relieved` are those for which it was done at once.
  void tunnel_consumed(std::uint32_t id, std::size_t bytes, std::size_t relieved);
  // A stream that cannot send what it has (`has_data`: bytes of a body) waits for its turn, not for its client. Control
  // frames and heads that leave do not show that the client takes anybody's body.
  [[nodiscard]] bool busy_with_others(std::uint32_t id, bool has_data) const;
  void add_fields(std::span<const Field> fields);

  rt::Loop& loop_;
  std::unique_ptr<net::Stream> stream_;
  net::Peer peer_;
  BufferPool& buffers_;
  const ServerSettings& settings_;
  RequestHandler& handler_;
  rt::Cancel& drain_;
  Instant accepted_;

  OutputBlock output_;   // being filled
  OutputBlock sending_;  // being written
  Connection connection_;
  FrameWatch watch_;
  RequestAssembler assembler_;
  std::optional<Flood> flood_;
  std::uint32_t last_stream_ = 0;  // that was not refused
  Instant headers_began_{};

  std::vector<ServerStream*> streams_;
  std::size_t running_ = 0;   // tasks of streams, the lost ones included
  std::size_t open_ = 0;      // streams that count for the limit
  std::size_t relieved_ = 0;  // bytes that WebSockets hold outside the connection's window
  rt::Event all_ended_;
  Instant idle_since_{};

  rt::Event work_;  // there is something to write, or an end
  bool output_has_data_ = false;
  bool sending_has_data_ = false;
  Instant data_written_{};  // when DATA left last

  rt::Cancel stop_reading_;
  rt::Cancel stop_writing_;
  bool reading_done_ = false;
  bool ended_ = false;  // nothing but what is queued goes out
  bool lost_ = false;   // nothing goes out
  enum class Drain : std::uint8_t { no, announced, done };
  Drain draining_ = Drain::no;
  bool drain_answered_ = false;  // the client has seen the notice
  DrainHook drain_hook_;
  SessionTimer deadline_;
  SessionTimer drain_timer_;  // the client may not answer our PING
  SessionTimer flush_timer_;  // what is left to say when the connection has ended
};

}  // namespace dao::http::h2
