#include "dao/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace dao::net {

namespace {

constexpr std::size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::size_t kBatchRecords = 4;
// A record with its header, nonce and tag; beside data there may be a short message of OpenSSL's own.
constexpr std::size_t kRecordWire = kRecord + 512;

// What the records of one try_write are collected in, and what small pieces are joined in. Used within one call only.
struct Batch {
  std::size_t size = 0;
  std::array<char, kBatchRecords * kRecordWire> bytes;
  std::array<char, kRecord> joined;
};
thread_local Batch batch;

iovec piece_of(const char* data, std::size_t size) {
  return {const_cast<char*>(data), size};
}

// Walks over the pieces of a write, a record's worth at a time.
class Cursor {
 public:
  explicit Cursor(std::span<const iovec> pieces) : pieces_(pieces) {
    for (const iovec& piece : pieces) left_ += piece.iov_len;
  }
  [[nodiscard]] std::size_t left() const { return left_; }
  void skip(std::size_t bytes) {
    left_ -= bytes;
    while (bytes > 0) {
      const std::size_t step = std::min(bytes, pieces_.front().iov_len - offset_);
      offset_ += step;
      bytes -= step;
      if (offset_ == pieces_.front().iov_len) next_piece();
    }
  }
  // The next bytes, at most a record: in place if they are in one piece, otherwise joined.
  std::span<const char> next() {
    while (pieces_.front().iov_len == offset_) next_piece();
    const std::size_t wanted = std::min(left_, kRecord);
    const std::size_t here = pieces_.front().iov_len - offset_;
    if (here >= wanted) {
      const std::span<const char> found(static_cast<const char*>(pieces_.front().iov_base) + offset_, wanted);
      skip(wanted);
      return found;
    }
    std::size_t joined = 0;
    while (joined < wanted) {
      const std::size_t step = std::min(wanted - joined, pieces_.front().iov_len - offset_);
      if (step > 0) {
        std::memcpy(batch.joined.data() + joined, static_cast<const char*>(pieces_.front().iov_base) + offset_, step);
      }
      joined += step;
      offset_ += step;
      if (offset_ == pieces_.front().iov_len) next_piece();
    }
    left_ -= wanted;
    return std::span(batch.joined).first(wanted);
  }

 private:
  void next_piece() {
    pieces_ = pieces_.subspan(1);
    offset_ = 0;
  }
  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;
  std::size_t left_ = 0;
};

// Printable ASCII, so that it may stand in a header.
std::string subject_of(const X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), &BIO_free);
  if (!text) return {};
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
  const char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string common_name_of(const X509* certificate) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return name;
}

}  // namespace

// OpenSSL's socket: SocketStream's calls, and the batch while data is written.
struct TlsSocketBio {
  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dao");
      BIO_meth_set_read(fresh, &read);
      BIO_meth_set_write(fresh, &write);
      BIO_meth_set_ctrl(fresh, &control);
      return fresh;
    }();
    return made;
  }

  static TlsStream& stream_of(BIO* bio) { return *static_cast<TlsStream*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* into, int size) {
    TlsStream& stream = stream_of(bio);
    BIO_clear_retry_flags(bio);
    if (stream.reads_left_ == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const IoResult got = stream.SocketStream::try_read({into, static_cast<std::size_t>(size)});
    switch (got.status) {
      case IoStatus::ok:
        --stream.reads_left_;
        return static_cast<int>(got.bytes);
      case IoStatus::end:
        stream.socket_ended_ = true;
        stream.set_peer_closed();
        return 0;
      case IoStatus::would_block:
        BIO_set_retry_read(bio);
        return -1;
      case IoStatus::failed:
        stream.last_errno_ = got.sys_errno;
        return -1;
    }
    return -1;
  }

  static int write(BIO* bio, const char* data, int size) {
    TlsStream& stream = stream_of(bio);
    BIO_clear_retry_flags(bio);
    const auto bytes = static_cast<std::size_t>(size);
    if (stream.batching_) {
      if (batch.bytes.size() - batch.size < bytes) return -1;
      std::memcpy(batch.bytes.data() + batch.size, data, bytes);
      batch.size += bytes;
      return size;
    }
    IoResult sent = stream.send_unsent();
    if (sent.status == IoStatus::ok) {
      const iovec piece = piece_of(data, bytes);
      sent = stream.SocketStream::try_write({&piece, 1});
    }
    if (sent.status == IoStatus::ok) return static_cast<int>(sent.bytes);
    if (sent.status == IoStatus::would_block) {
      BIO_set_retry_write(bio);
    } else {
      stream.last_errno_ = sent.sys_errno;
    }
    return -1;
  }

  static long control(BIO* bio, int command, long, void*) {
    switch (command) {
      case BIO_CTRL_FLUSH:
        return 1;
      case BIO_CTRL_EOF:
        return stream_of(bio).socket_ended_ ? 1 : 0;
      default:
        return 0;
    }
  }
};

Result<std::unique_ptr<TlsStream>> TlsStream::connect(rt::EpollLoop& loop, const SocketAddress& to,
                                                      const TlsClientContext& context,
                                                      std::shared_ptr<TlsSessionSlot> session, std::string_view alpn) {
  const Result<int> fd = begin_connect(to);
  if (!fd) return std::unexpected(fd.error());
  auto stream = std::make_unique<TlsStream>(loop, *fd);
  if (!stream->ok() || !stream->begin(context.get(), false)) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::io, .sys_errno = ENOMEM, .detail = "a TLS connection"});
  }
  SSL* ssl = stream->ssl_.get();
  if (!context.sni().empty()) SSL_set_tlsext_host_name(ssl, context.sni().c_str());
  if (!alpn.empty()) {
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(alpn.data()), static_cast<unsigned>(alpn.size()));
  }
  if (session != nullptr && session->get() != nullptr) SSL_set_session(ssl, session->get());
  stream->session_ = std::move(session);
  return stream;
}

TlsStream::~TlsStream() {
  say_goodbye();
  // Without a goodbye of both sides OpenSSL would take the session for unusable; a lost connection says nothing of it.
  if (ssl_ && failure_.kind != ErrorKind::tls_protocol) {
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  }
}

bool TlsStream::begin(SSL_CTX* context, bool server) {
  ssl_.reset(SSL_new(context));
  BIO* bio = ssl_ ? BIO_new(TlsSocketBio::method()) : nullptr;
  if (bio == nullptr) {
    ssl_.reset();
    ERR_clear_error();
    return false;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  if (server) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
  }
  return true;
}

int TlsStream::keep_session(SSL* ssl, SSL_SESSION* session) {
  const auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  if (stream == nullptr || stream->session_ == nullptr) return 0;
  stream->session_->put(SslSessionPtr(session));
  return 1;
}

rt::Task<Result<>> TlsStream::accept(rt::Loop& loop, SSL_CTX* context, HandshakeTurns& turns, Instant deadline,
                                     rt::Cancel* cancel) {
  const Error late{.origin = Origin::client, .kind = ErrorKind::timeout_head, .detail = "no TLS handshake in time"};
  while (!SocketStream::may_read()) {
    const rt::Wake wake = co_await wait_readable(loop, deadline, cancel);
    if (wake == rt::Wake::timed_out) co_return std::unexpected(late);
    if (wake == rt::Wake::cancelled) {
      co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::cancelled});
    }
  }
  for (;;) {
    if (turns.anybody_waits() || !turns.has_time(loop.now())) {
      auto waiting = wait_turn(loop, turns, deadline);
      const bool my_turn = co_await std::move(waiting);
      if (!my_turn && peer_closed()) {
        co_return std::unexpected(
            Error{.origin = Origin::client, .kind = ErrorKind::closed, .detail = "closed before its handshake"});
      }
      if (!my_turn) co_return std::unexpected(late);
    }
    const Instant begun = loop.precise_now();
    if (!ssl_ && !begin(context, true)) {
      co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::io, .detail = "no memory for TLS"});
    }
    const IoResult step = step_handshake();
    turns.spend(loop.precise_now() - begun);
    if (step.status == IoStatus::ok) co_return Result<>{};
    if (step.status == IoStatus::failed) co_return std::unexpected(error_of(step, Origin::client));
    rt::Wake wake = rt::Wake::ready;
    if (write_wants_read_) {
      wake = co_await wait_readable(loop, deadline, nullptr);
    } else {
      wake = co_await wait_writable(loop, deadline, nullptr);
    }
    if (wake != rt::Wake::ready) co_return std::unexpected(late);
  }
}

rt::Task<bool> TlsStream::wait_turn(rt::Loop& loop, HandshakeTurns& turns, Instant deadline) {
  HandshakeTurns::Place place(turns);
  // Who leaves before it begins costs nothing. Later the dear part is done, and the last message of a client that only
  // wanted to know whether we can shake hands may have come together with its end.
  rt::Cancel gone;
  if (!ssl_) watch_peer(&gone, true);
  const auto served = [this, &gone] {
    watch_peer(nullptr, false);
    return !gone.requested();
  };
  if (!place.first()) {
    const rt::Wake wake = co_await place.wait(loop, deadline, &gone);
    if (wake != rt::Wake::ready) co_return served() && false;
  }
  while (!turns.has_time(loop.now()) && !gone.requested()) co_await rt::next_batch(loop);
  co_return served();
}

void TlsStream::stop_tls() {
  ssl_.reset();
  handshaken_ = pending_ = ended_ = false;
  failure_ = {};
  write_errno_ = 0;
}

rt::Task<Result<>> TlsStream::finish_connect(rt::Loop& loop, Instant deadline, rt::Cancel* cancel) {
  for (;;) {
    const IoResult step = step_handshake();
    if (step.status == IoStatus::ok) co_return Result<>{};
    if (step.status == IoStatus::failed) co_return std::unexpected(error_of(step, Origin::backend));
    const rt::Wake wake = co_await wait_writable(loop, deadline, cancel);
    if (wake == rt::Wake::timed_out) {
      co_return std::unexpected(Error{.origin = Origin::backend, .kind = ErrorKind::timeout_connect});
    }
    if (wake == rt::Wake::cancelled) {
      co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::cancelled});
    }
  }
}

IoResult TlsStream::step_handshake() {
  if (failure_.kind != ErrorKind::none) return {IoStatus::failed, EPROTO};
  if (handshaken_) return {IoStatus::ok};
  write_wants_read_ = false;
  for (int calls = 0; calls < kQuietCalls; ++calls) {
    ERR_clear_error();
    reads_left_ = kReadsPerCall;
    const int done = SSL_do_handshake(ssl_.get());
    if (done == 1) {
      handshaken_ = true;
      pending_ = SSL_has_pending(ssl_.get()) == 1;
      note_facts(SSL_is_server(ssl_.get()) == 1);
      return {IoStatus::ok};
    }
    const int why = SSL_get_error(ssl_.get(), done);
    if (why == SSL_ERROR_WANT_WRITE) return {IoStatus::would_block};
    if (why != SSL_ERROR_WANT_READ) return fail(why);
    if (!SocketStream::may_read()) {
      write_wants_read_ = true;
      return {IoStatus::would_block};
    }
  }
  failure_ = {.kind = ErrorKind::tls_protocol, .detail = "too much in a handshake"};
  return {IoStatus::failed, EPROTO};
}

void TlsStream::note_facts(bool server) {
  SSL* ssl = ssl_.get();
  facts_.version = SSL_get_version(ssl);
  facts_.cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl));
  facts_.resumed = SSL_session_reused(ssl) == 1;
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &chosen, &size);
  if (size > 0) facts_.alpn.assign(reinterpret_cast<const char*>(chosen), size);
  if (!server) return;
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) {
    facts_.server_name = name;
    std::ranges::transform(facts_.server_name, facts_.server_name.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  }
  facts_.client_auth = (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) != 0;
  if (!facts_.client_auth) return;
  if (const X509* certificate = SSL_get0_peer_certificate(ssl)) {
    facts_.client_verified = SSL_get_verify_result(ssl) == X509_V_OK;
    facts_.client_subject = subject_of(certificate);
    facts_.client_common_name = common_name_of(certificate);
  }
}

IoResult TlsStream::fail(int ssl_error) {
  if (ssl_error == SSL_ERROR_SYSCALL && last_errno_ != 0) {
    failure_ = io_error(Origin::us, last_errno_);
    ERR_clear_error();
  } else if (socket_ended_ && ERR_peek_error() == 0) {
    failure_ = {.origin = Origin::us, .kind = ErrorKind::closed, .detail = "closed without saying so in TLS"};
  } else {
    failure_ = take_tls_error(ssl_.get(), Origin::us);
  }
  return {IoStatus::failed, failure_.sys_errno != 0 ? failure_.sys_errno : EPROTO};
}

IoResult TlsStream::fail_write(IoResult failed) {
  write_errno_ = failed.sys_errno;
  expect_news();
  for (int calls = 0; calls < kQuietCalls; ++calls) {
    ERR_clear_error();
    reads_left_ = kReadsPerCall;
    char next = 0;
    std::size_t seen = 0;
    if (SSL_peek_ex(ssl_.get(), &next, 1, &seen) == 1) break;
    const int why = SSL_get_error(ssl_.get(), 0);
    if (why == SSL_ERROR_SSL) return fail(why);
    if (why != SSL_ERROR_WANT_READ || !SocketStream::may_read()) break;
  }
  ERR_clear_error();
  pending_ = true;
  readable.set();
  return failed;
}

Error TlsStream::error_of(const IoResult& result, Origin origin) const {
  if (failure_.kind == ErrorKind::none) return SocketStream::error_of(result, origin);
  return failure_.with_origin(origin);
}

IoResult TlsStream::try_read(std::span<char> into) {
  if (!ssl_) return SocketStream::try_read(into);
  if (!handshaken_) {
    const IoResult step = step_handshake();
    if (step.status != IoStatus::ok) return step;
  }
  if (ended_) return {IoStatus::end};
  if (failure_.kind != ErrorKind::none) return {IoStatus::failed, EPROTO};
  if (!may_read()) return {IoStatus::would_block};
  std::size_t total = 0;
  while (total < into.size()) {
    ERR_clear_error();
    reads_left_ = kReadsPerCall;
    read_wants_write_ = false;
    std::size_t got = 0;
    if (SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &got) == 1) {
      total += got;
      quiet_calls_ = 0;
      pending_ = SSL_has_pending(ssl_.get()) == 1;
      if (!may_read()) break;
      continue;
    }
    const int why = SSL_get_error(ssl_.get(), 0);
    if (why == SSL_ERROR_WANT_READ) {
      pending_ = false;
      const bool whole_messages = reads_left_ < kReadsPerCall && SSL_has_pending(ssl_.get()) == 0;
      if ((!whole_messages && reads_left_ > 0) || ++quiet_calls_ < kQuietCalls) {
        if (SocketStream::may_read()) continue;
        break;
      }
      failure_ = {.kind = ErrorKind::tls_protocol, .detail = "messages without data without end"};
    } else if (why == SSL_ERROR_WANT_WRITE) {
      read_wants_write_ = true;
      pending_ = false;
      break;
    } else if (why == SSL_ERROR_ZERO_RETURN && !socket_ended_) {
      ended_ = true;
      set_peer_closed();
    } else {
      fail(why);
      // A client that leaves without a goodbye cuts nothing that its own framing does not show; of a server's answer
      // the end may be missing.
      ended_ = failure_.kind == ErrorKind::closed && SSL_is_server(ssl_.get()) == 1;
      if (failure_.kind == ErrorKind::closed) failure_.kind = ended_ ? ErrorKind::none : ErrorKind::reset;
    }
    pending_ = true;  // the end, or the failure, is to be read
    if (total > 0) break;
    if (ended_) return {IoStatus::end};
    return {IoStatus::failed, failure_.sys_errno != 0 ? failure_.sys_errno : EPROTO};
  }
  if (total == 0) return {IoStatus::would_block};
  return {IoStatus::ok, 0, total};
}

IoResult TlsStream::send_unsent() {
  while (!unsent_.empty()) {
    const iovec piece = piece_of(unsent_.data(), unsent_.size());
    const IoResult sent = SocketStream::try_write({&piece, 1});
    if (sent.status != IoStatus::ok) return sent;
    unsent_.erase(0, sent.bytes);
  }
  if (unsent_.capacity() != 0) std::string().swap(unsent_);
  return {IoStatus::ok};
}

IoResult TlsStream::try_write(std::span<const iovec> pieces) {
  if (!ssl_) return SocketStream::try_write(pieces);
  if (!handshaken_) {
    const IoResult step = step_handshake();
    if (step.status != IoStatus::ok) return step;
  }
  if (failure_.kind != ErrorKind::none) return {IoStatus::failed, EPROTO};
  if (write_errno_ != 0) return {IoStatus::failed, write_errno_};
  const IoResult before = send_unsent();
  if (before.status == IoStatus::failed) return fail_write(before);
  if (before.status != IoStatus::ok) return before;
  std::size_t done = std::exchange(ahead_, 0);
  Cursor cursor(pieces);
  if (done > cursor.left()) {
    failure_ = {.kind = ErrorKind::tls_protocol, .detail = "a write was not continued"};
    return {IoStatus::failed, EPROTO};
  }
  cursor.skip(done);
  while (cursor.left() > 0) {
    batch.size = 0;
    batching_ = true;
    std::size_t taken = 0;
    std::size_t last = 0;
    while (cursor.left() > 0 && batch.bytes.size() - batch.size >= kRecordWire) {
      const std::span<const char> record = cursor.next();
      ERR_clear_error();
      std::size_t written = 0;
      if (SSL_write_ex(ssl_.get(), record.data(), record.size(), &written) != 1 || written != record.size()) {
        batching_ = false;
        return fail(SSL_get_error(ssl_.get(), 0));
      }
      last = record.size();
      taken += last;
    }
    batching_ = false;
    std::size_t sent_bytes = 0;
    while (sent_bytes < batch.size) {
      const iovec piece = piece_of(batch.bytes.data() + sent_bytes, batch.size - sent_bytes);
      const IoResult sent = SocketStream::try_write({&piece, 1});
      if (sent.status == IoStatus::failed) return fail_write(sent);
      if (sent.status == IoStatus::would_block) break;
      sent_bytes += sent.bytes;
    }
    if (sent_bytes < batch.size) {
      // The writer is told of all but the last record, so it comes back, and what is left is sent then.
      unsent_.assign(batch.bytes.data() + sent_bytes, batch.size - sent_bytes);
      ahead_ = last;
      done += taken - last;
      if (done == 0) return {IoStatus::would_block};
      return {IoStatus::ok, 0, done};
    }
    done += taken;
  }
  return {IoStatus::ok, 0, done};
}

std::size_t TlsStream::unread_by_peer() const {
  return SocketStream::unread_by_peer() + unsent_.size();
}

bool TlsStream::idle_and_open() {
  return !pending_ && SocketStream::idle_and_open();
}

void TlsStream::say_goodbye() {
  if (!handshaken_ || said_goodbye_ || failure_.kind != ErrorKind::none || peer_gone()) return;
  if (!unsent_.empty() || write_errno_ != 0) return;
  said_goodbye_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

void TlsStream::shutdown_write() {
  say_goodbye();
  SocketStream::shutdown_write();
}

void TlsStream::abort() {
  said_goodbye_ = true;
  SocketStream::abort();
}

void TlsStream::on_events(std::uint32_t events) {
  SocketStream::on_events(events);
  if (!ssl_) return;
  if (write_wants_read_ && SocketStream::may_read()) writable.set();
  if (read_wants_write_ && (events & EPOLLOUT) != 0) {
    pending_ = true;
    readable.set();
  }
}

}  // namespace dao::net
