// One HTTP/2 connection as RFC 9113 describes it, for either role: bytes in, bytes out, frames and HPACK between them,
// the states of streams, flow control, and what a message must look like. It does no I/O, knows no time, and decides
// nothing that the rules leave open; that is for the session around it (ServerSession, ClientSession).
//
// Heads and control frames are written into the output at once, DATA when the session asks for it (send_data), in the
// order of the streams' urgency (RFC 9218). One thread; not to be called from within its events but where these say so.
//
// Memory: a frame, or a header block, that came in pieces (header_block_max_bytes at most); the HPACK tables (4096
// bytes each way); a StreamState for each open stream; the identifiers of the last kStreamsRemembered that we have
// reset.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dao/http/h2/flood.h"
#include "dao/http/h2/frame.h"
#include "dao/http/h2/hpack_decoder.h"
#include "dao/http/h2/hpack_encoder.h"
#include "dao/http/h2/output_block.h"
#include "dao/http/h2/ready_list.h"
#include "dao/http/h2/section_rules.h"
#include "dao/http/h2/stream_state.h"
#include "dao/http/head.h"

namespace dao::http::h2 {

// Header blocks are compressed; the largest that can decode to what is allowed is a few times that (RFC 7541 appendix
// B: at most 30 bits for a byte).
inline constexpr std::size_t kHeaderBlockFactor = 4;
// For send_data: one block being written comes on top, and one header block.
inline constexpr std::size_t kOutputMax = std::size_t{64} * 1024;

// What goes into a stream's next DATA frame.
struct DataOffer {
  bool nothing_yet = false;  // until resume()
  std::size_t bytes = 0;
  bool last = false;
  std::span<const Field> trailers{};  // with the last one: the stream ends with these
};

// A trailer that goes on: not dropped, and not about the connection it came by.
inline bool passes_as_trailer(const Field& field) {
  return !field.dropped && !is_hop_by_hop(field.id);
}

// What the session hears. Where a stream has no `user`, nothing is said of it but on_section and on_section_end of a
// new request.
class ConnectionEvents {
 public:
  // A frame begins. A code ends the connection.
  virtual std::optional<ErrorCode> on_frame(const FrameHeader& header) = 0;
  // A DATA frame had padding and nothing else, and did not end its stream. A code ends the connection.
  virtual std::optional<ErrorCode> on_padding_only() { return std::nullopt; }

  // A field section: its begin, each field, its end. on_field false: no more of it is wanted; a client's session has
  // the stream reset then, a server's the connection ended (Flood::header_bytes). on_section_end may reset the stream.
  virtual void on_section(StreamState& stream) = 0;
  virtual bool on_field(StreamState& stream, const HpackField& field, FieldId id) = 0;
  virtual void on_section_end(StreamState& stream, SectionKind kind, bool ends_stream) = 0;
  // Content, to be given back by consume*().
  virtual void on_data(StreamState& stream, std::span<const char> bytes) = 0;
  // The peer's END_STREAM came with a DATA frame.
  virtual void on_remote_end(StreamState& stream) = 0;
  // What came breaks the rules for messages (RFC 9113 section 8); the stream is reset next.
  virtual void on_malformed(StreamState& /*stream*/) {}
  // Both sides have ended, or one has reset the stream. `by_peer`: the code is the peer's.
  virtual void on_close(StreamState& stream, ErrorCode code, bool by_peer) = 0;
  // A RST_STREAM of ours, whatever for.
  virtual void on_reset_sent(ErrorCode /*code*/) {}

  virtual void on_ping_answer(std::string_view /*payload*/) {}

  // For DATA: at most `most` bytes are asked for, then exactly so many are taken as were offered.
  virtual DataOffer offer(StreamState& stream, std::size_t most) = 0;
  virtual std::span<const char> take(StreamState& stream, std::size_t bytes) = 0;
  // Our END_STREAM is in the output.
  virtual void on_local_end(StreamState& stream) = 0;

 protected:
  ~ConnectionEvents() = default;
};

class Connection {
 public:
  enum class Role : std::uint8_t { server, client };
  struct Bounds {
    std::int64_t stream_window = kInitialWindow;      // as the settings say
    std::int64_t connection_window = kInitialWindow;  // of all streams together
    std::size_t header_block_max_bytes = 0;           // as sent, all frames of a block together
    std::uint32_t continuations_max = 32;             // of a block
    std::uint32_t answers_max = 1000;                 // acknowledgements that wait in the output
  };
  static constexpr std::size_t kStreamsRemembered = 1000;

  // Writes what comes first (RFC 9113 section 3.4) into the output. `settings`: ours. All references outlive it.
  Connection(Role role, OutputBlock& output, ConnectionEvents& events, const Bounds& bounds,
             std::span<const SettingValue> settings);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // --- what came -----------------------------------------------------------------------------------------------------
  // False when the connection is over by an error(): nothing is read any more. The session says so to the peer
  // (goaway()).
  bool receive(std::string_view bytes);
  [[nodiscard]] std::optional<ErrorCode> error() const { return error_; }
  // What the peer has overdone, if the error() is that: one of Bounds is exceeded, or on_field() was false.
  [[nodiscard]] std::optional<Flood> flood() const { return flood_; }
  [[nodiscard]] bool settings_came() const { return settings_came_; }
  // A header block, or the frame that begins it, is not complete.
  [[nodiscard]] bool in_header_block() const;
  [[nodiscard]] std::uint64_t header_blocks() const { return header_blocks_; }  // begun so far

  // The request path is done with bytes of on_data().
  void consume(std::uint32_t stream, std::size_t bytes) {
    consume_stream(stream, bytes);
    consume_connection(bytes);
  }
  void consume_stream(std::uint32_t stream, std::size_t bytes);
  void consume_connection(std::size_t bytes);

  // --- streams -------------------------------------------------------------------------------------------------------
  // Null when it is closed. O(log streams).
  [[nodiscard]] StreamState* find(std::uint32_t id) const;
  // Client: a new stream, for begin_head(). Only while may_open().
  StreamState& open(void* user, bool is_head);
  // Client: identifiers are left, and the server has not said GOAWAY.
  [[nodiscard]] bool may_open() const { return !goaway_came_ && next_id_ <= kStreamIdMax && !error_; }
  // Client: so many streams the server takes at once.
  [[nodiscard]] std::size_t streams_max() const { return streams_max_; }
  [[nodiscard]] std::size_t streams() const { return streams_.size(); }
  // RST_STREAM, and the end of it; nothing when it is closed already.
  void reset(std::uint32_t id, ErrorCode code);
  [[nodiscard]] std::int64_t send_window() const { return send_window_; }

  // --- what goes out -------------------------------------------------------------------------------------------------
  // A field section of the stream: begin, each field, end.
  void begin_head();
  void add_field(const Field& field);
  void end_head(StreamState& stream, bool ends_stream);
  // DATA will follow the head: offer() is asked as soon as send_data() comes to it.
  void start_body(StreamState& stream);
  // offer() has something again.
  void resume(std::uint32_t id);
  // Some stream may have DATA, and the connection's window is open.
  [[nodiscard]] bool has_data() const { return ready_.first() != nullptr && send_window_ > 0; }
  // DATA frames, until the output has so many bytes, or no stream may send.
  void send_data(std::size_t output_max);
  void ping(std::string_view payload);  // 8 bytes
  void goaway(std::uint32_t last_stream, ErrorCode code);
  // Server: streams above this one are ignored from now on; a GOAWAY has said so.
  void refuse_above(std::uint32_t last_stream) { refused_above_ = last_stream; }
  // The highest stream of the peer's that reached the session.
  [[nodiscard]] std::uint32_t last_stream() const { return last_stream_; }
  // The session has taken the output to write it.
  void output_taken() { answers_waiting_ = 0; }

 private:
  enum class Reading : std::uint8_t { preface, header, payload, data, skipped };

  bool fail(ErrorCode code);  // false
  bool fail(Flood flood);     // false
  [[nodiscard]] bool is_server() const { return role_ == Role::server; }

  bool frame_begins();
  bool frame_complete(std::string_view payload);
  bool data_begins();
  bool data_arrived(std::string_view bytes);
  bool data_ends();
  bool headers_begin();
  bool headers_arrived(std::string_view payload);
  bool block_complete(std::string_view block);
  bool take_section(std::string_view block, StreamState* stream, SectionKind kind, bool ends_stream);
  void section_ended(StreamState& stream, SectionKind kind, bool ends_stream);
  [[nodiscard]] SectionKind kind_of_next_section(const StreamState& stream) const;
  bool settings_arrived(std::string_view payload);
  bool apply(SettingValue value);
  bool priority_update_arrived(std::string_view payload);
  bool goaway_arrived(std::string_view payload);
  bool window_update_arrived(std::string_view payload);
  // Whether a stream was never opened by anybody (RFC 9113 section 5.1).
  [[nodiscard]] bool is_idle(std::uint32_t id) const;
  StreamState& add_stream(std::uint32_t id);
  // A frame came on a stream that is closed. False: the peer has closed it itself.
  bool may_come_late(std::uint32_t id, bool ends);
  void expect_late_frames(std::uint32_t id);
  void malformed(StreamState& stream);
  void close(StreamState& stream, ErrorCode code, bool by_peer);
  void local_end(StreamState& stream);

  void write_frame(const FrameHeader& header, std::string_view payload);
  void write_word(FrameType type, std::uint32_t stream, std::uint32_t word);
  bool answer(FrameType type, std::string_view payload);
  void send_frame_of(StreamState& stream);

  Role role_;
  OutputBlock& output_;
  ConnectionEvents& events_;
  Bounds bounds_;

  // Reading.
  Reading reading_ = Reading::header;
  std::array<char, kFrameHeaderBytes> header_bytes_{};
  std::uint8_t header_have_ = 0;  // of the header, or of the preface
  bool padding_unread_ = false;   // the length of a DATA frame's padding comes next
  std::uint8_t padding_left_ = 0;
  bool frame_had_content_ = false;
  FrameHeader header_;
  std::uint32_t payload_left_ = 0;
  std::string gathered_;            // of a payload that comes in pieces
  std::string block_;               // of a header block that comes in frames
  std::uint32_t block_stream_ = 0;  // CONTINUATION must follow on it
  bool block_ends_stream_ = false;
  bool block_depends_on_itself_ = false;
  std::uint32_t continuations_ = 0;
  std::uint64_t header_blocks_ = 0;
  bool settings_came_ = false;
  bool goaway_came_ = false;
  std::optional<Flood> flood_;
  std::optional<ErrorCode> error_;
  HpackDecoder decoder_;
  SectionRules rules_;

  // Streams.
  std::vector<StreamState*> streams_;  // by identifier
  std::uint32_t highest_ = 0;          // of the client's, at the server
  std::uint32_t last_begun_ = 0;       // of those that were not ignored
  std::uint32_t last_stream_ = 0;
  std::uint32_t refused_above_ = kStreamIdMax;
  std::uint32_t next_id_ = 1;  // of ours
  std::uint32_t goaway_last_ = kStreamIdMax;
  std::size_t streams_max_;
  // Streams that we have reset and the peer has not ended, in order: it may not have known when it sent more.
  std::vector<std::uint32_t> reset_by_us_;
  std::uint32_t forgotten_ = 0;  // the highest that was dropped from there
  struct EarlyPriority {
    std::uint32_t stream;
    Priority priority;
  };
  std::vector<EarlyPriority> early_priorities_;  // for streams that have not begun

  // Windows.
  std::int64_t receive_window_;                       // of the connection: what the peer may still send
  std::int64_t consumed_;                             // and what of it is to be given back
  std::int64_t our_initial_window_ = kInitialWindow;  // as the peer knows it
  bool settings_unanswered_ = true;
  std::int64_t send_window_ = kInitialWindow;
  std::int64_t their_initial_window_ = kInitialWindow;

  // Writing.
  HpackEncoder encoder_;
  std::size_t head_at_ = 0;  // where the section that is being written begins in the output
  ReadyList ready_;
  std::uint32_t answers_waiting_ = 0;
};

}  // namespace dao::http::h2
