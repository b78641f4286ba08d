// A socket that speaks TLS (OpenSSL) once it was told to; until then it is a plain SocketStream, so that what comes
// before TLS on the same connection (a PROXY header) passes through it too.
//
// The rules of SocketStream hold: OpenSSL reads and writes through SocketStream's own non-blocking calls, so a read is
// attempted only after an edge. Records of one try_write leave in one system call, up to kBatchRecords of them.
//
// Memory of an idle connection: OpenSSL's state, no record buffer. Of one whose peer does not read: what was encrypted
// and not sent, at most kBatchRecords records (about 66 KiB).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "dao/net/handshake_turns.h"
#include "dao/net/socket_stream.h"
#include "dao/net/tls_context.h"
#include "dao/net/tls_facts.h"
#include "dao/rt/task.h"

namespace dao::net {

class TlsStream final : public SocketStream {
 public:
  using SocketStream::SocketStream;
  // Starts to connect, and to speak TLS as a client when that has succeeded: writes say would_block until the handshake
  // is over, or fail with what it failed with, so the handshake is a part of connecting for whoever writes first.
  // `session` (may be null) is used and renewed.
  // `alpn`: alpn_wire() of what to offer instead of what the context offers; empty = that.
  static Result<std::unique_ptr<TlsStream>> connect(rt::EpollLoop& loop, const SocketAddress& to,
                                                    const TlsClientContext& context,
                                                    std::shared_ptr<TlsSessionSlot> session,
                                                    std::string_view alpn = {});
  ~TlsStream() override;

  // The server's handshake. Nothing of TLS is held before the client has sent something; `context` must live until
  // then, and what its callbacks refer to until the handshake is over. `cancel` ends the wait for the first byte. Each
  // step waits for its turn; a client that has left meanwhile costs no step.
  // Errors: origin client; tls_protocol, tls_certificate, tls_alert, closed, reset, timeout_head, or cancelled.
  rt::Task<Result<>> accept(rt::Loop& loop, SSL_CTX* context, HandshakeTurns& turns, Instant deadline,
                            rt::Cancel* cancel);
  // The client's handshake after connect(), for whoever must know its outcome before writing. Errors: origin backend;
  // as above, and those of connecting; timeout_connect.
  rt::Task<Result<>> finish_connect(rt::Loop& loop, Instant deadline, rt::Cancel* cancel);

  // After a failed handshake: a plain socket from here on.
  void stop_tls();

  // Null before the handshake is over.
  [[nodiscard]] const TlsFacts* tls() const override { return handshaken_ ? &facts_ : nullptr; }

  IoResult try_read(std::span<char> into) override;
  [[nodiscard]] bool may_read() const override { return pending_ || SocketStream::may_read(); }
  IoResult try_write(std::span<const iovec> pieces) override;
  IoResult try_finish_connect() override { return ssl_ ? step_handshake() : IoResult{IoStatus::ok}; }
  [[nodiscard]] std::size_t unread_by_peer() const override;
  bool idle_and_open() override;
  // Says goodbye in TLS, then closes this direction of the socket.
  void shutdown_write() override;
  void abort() override;
  [[nodiscard]] Error error_of(const IoResult& result, Origin origin) const override;

  // For TlsClientContext: OpenSSL's callback for a new session.
  static int keep_session(SSL* ssl, SSL_SESSION* session);

 private:
  friend struct TlsSocketBio;
  // Reads of the socket within one call of OpenSSL; and calls in a row that read whole messages and no data: with more
  // of them the peer is only keeping us busy.
  static constexpr int kReadsPerCall = 4;
  static constexpr int kQuietCalls = 16;

  bool begin(SSL_CTX* context, bool server);
  // True: now. False: the time is up, or the client is gone.
  rt::Task<bool> wait_turn(rt::Loop& loop, HandshakeTurns& turns, Instant deadline);
  // ok: the handshake is over.
  IoResult step_handshake();
  void note_facts(bool server);
  IoResult fail(int ssl_error);
  // The socket takes no more. Says why, if the peer did before it closed: in TLS 1.3 a server judges our certificate
  // when our handshake is over, and its alert lies unread when our first write meets the reset that followed it.
  // What it sent before that stays to be read.
  IoResult fail_write(IoResult failed);
  // What is left of earlier writes. ok: nothing is left.
  IoResult send_unsent();
  void say_goodbye();
  void on_events(std::uint32_t epoll_events) override;

  SslPtr ssl_;
  std::shared_ptr<TlsSessionSlot> session_;
  TlsFacts facts_;
  Error failure_;          // kind none: alive
  int write_errno_ = 0;    // what the socket's write failed with; reading may go on
  std::string unsent_;     // encrypted, not taken by the kernel
  std::size_t ahead_ = 0;  // plain bytes in unsent_ that the writer was not told of: it comes back for them
  int reads_left_ = 0;
  int quiet_calls_ = 0;
  int last_errno_ = 0;  // of the socket, where OpenSSL failed because of it
  bool handshaken_ = false;
  bool pending_ = false;  // OpenSSL may have something to read without the socket
  bool ended_ = false;    // the peer said goodbye
  bool socket_ended_ = false;
  bool batching_ = false;
  bool read_wants_write_ = false;
  bool write_wants_read_ = false;
  bool said_goodbye_ = false;
};

}  // namespace dao::net
