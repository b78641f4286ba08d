// A byte stream as the HTTP code sees it: non-blocking attempts plus two events to wait on. Sockets, TLS and the
// in-memory pipe of the tests implement it. One thread (that of its loop).
//
//   for (;;) {
//     const IoResult result = stream.try_read(buffer);
//     if (result.status != IoStatus::would_block) break;
//     const rt::Wake wake = co_await stream.wait_readable(loop, deadline, cancel);
//     if (wake != rt::Wake::ready) ...
//   }
#pragma once

#include <sys/uio.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "dao/base/error.h"
#include "dao/rt/event.h"

namespace dao::net {

enum class IoStatus : std::uint8_t { ok, end, would_block, failed };

struct IoResult {
  IoStatus status;
  int sys_errno = 0;      // failed
  std::size_t bytes = 0;  // ok
};

struct TlsFacts;

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // `end` once the peer has closed its side and everything was read.
  virtual IoResult try_read(std::span<char> into) = 0;
  // Streams that have read ahead lend what lies in their memory, so that nobody copies it: the first piece of it, valid
  // until consume(). Empty: ask try_read().
  [[nodiscard]] virtual std::span<const char> buffered() const { return {}; }
  // At most buffered().size() bytes are done with.
  virtual void consume(std::size_t) {}
  // A read may give something now. Check it before waiting for `readable`: the event tells of news only.
  [[nodiscard]] virtual bool may_read() const = 0;
  // Takes as much as fits now, from any number of pieces. Never raises SIGPIPE. After would_block the caller comes back
  // with what was left of the pieces, at the same place, or abandons it: a stream may go on taking it meanwhile.
  virtual IoResult try_write(std::span<const iovec> pieces) = 0;
  // For whoever must know what was agreed before writing: ok once a write would be taken, the handshake of TLS
  // included; would_block: again when writable; failed: what a write would fail with. A stream that has nothing to
  // agree on is ready at once, though it may still be connecting.
  virtual IoResult try_finish_connect() { return {IoStatus::ok}; }
  // Before the first write on a stream that connects: what goes before everything else on the connection, TLS included.
  // It is no part of what try_write reports.
  virtual void write_first(std::string_view) { assert(false && "nothing goes before this stream"); }
  // What is left of a write does not come any more. Nothing can be written after it.
  virtual void abandon_write() {}
  // A connection is shared with others, and it is theirs that the peer takes now.
  [[nodiscard]] virtual bool held_up_by_others() const { return false; }
  // Bytes that were written and that the peer has not taken yet. One system call.
  [[nodiscard]] virtual std::size_t unread_by_peer() const = 0;
  // What `result` (failed) of a read or write means. `origin` is the side the stream leads to.
  [[nodiscard]] virtual Error error_of(const IoResult& result, Origin origin) const;
  // What was agreed with the peer about the connection's security; null without TLS.
  [[nodiscard]] virtual const TlsFacts* tls() const { return nullptr; }
  // For an idle connection: nothing to read and not closed, as the kernel sees it at this moment. One system call.
  virtual bool idle_and_open() = 0;
  // The peer will read the end of the stream after what was written. Reading goes on.
  virtual void shutdown_write() = 0;

  // The peer has closed its side or is gone, whether or not everything was read yet.
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }
  // The connection is dead in both directions (reset, error).
  [[nodiscard]] bool peer_gone() const { return peer_gone_; }

  // Requested (with ErrorKind::closed or reset) when the peer closes or is gone, perhaps some milliseconds later; null
  // when nobody wants to know.
  void watch_peer(rt::Cancel* cancel, bool on_close_too) {
    peer_watch_ = cancel;
    peer_watch_close_ = on_close_too;
    if (cancel != nullptr) tell_watcher();
    if (!armed_) arm_soon(cancel != nullptr);
  }

  [[nodiscard]] rt::detail::Waiter wait_readable(rt::Loop& loop, Instant deadline, rt::Cancel* cancel) {
    if (!armed_) arm();
    return readable.wait(loop, deadline, cancel);
  }
  [[nodiscard]] rt::detail::Waiter wait_writable(rt::Loop& loop, Instant deadline, rt::Cancel* cancel) {
    if (!armed_) arm();
    return writable.wait(loop, deadline, cancel);
  }

  // The stream is closed right after the writes that follow: their end and the end of the stream may travel together.
  void closing_after_write() { closing_ = true; }

 protected:
  rt::Event readable;
  rt::Event writable;
  bool closing_ = false;
  // False while nobody tells this stream of news: it must be armed before anybody waits.
  bool armed_ = true;
  virtual void arm() {}
  // Arm it in a moment, unless that is called off.
  virtual void arm_soon(bool) {}

  void set_peer_closed() {
    peer_closed_ = true;
    tell_watcher();
  }
  void set_peer_gone() {
    peer_closed_ = peer_gone_ = true;
    tell_watcher();
  }

 private:
  void tell_watcher() {
    if (peer_watch_ == nullptr) return;
    if (peer_gone_) {
      peer_watch_->request(ErrorKind::reset);
    } else if (peer_closed_ && peer_watch_close_) {
      peer_watch_->request(ErrorKind::closed);
    }
  }

  rt::Cancel* peer_watch_ = nullptr;
  bool peer_watch_close_ = false;
  bool peer_closed_ = false;
  bool peer_gone_ = false;
};

// What a failed read or write means. `origin` is the side the stream leads to.
Error io_error(Origin origin, int sys_errno);
// What the error of a stream that was still connecting means: it belongs to the connect, and nothing was sent.
Error connect_error(Error error);

}  // namespace dao::net
