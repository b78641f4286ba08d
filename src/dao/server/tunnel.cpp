#include "dao/server/tunnel.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/http/websocket_frames.h"
#include "dao/rt/join.h"

namespace dao::server {

namespace {

using sense::WebSocketEnd;

// RFC 6455 section 7.4.1, and the registry it founds.
constexpr std::uint16_t kGoingAway = 1001;
constexpr std::uint16_t kUnexpected = 1011;
constexpr std::uint16_t kServiceRestart = 1012;

// Pieces passed in one batch of the loop before the others have their turn.
constexpr std::uint32_t kPiecesPerBatch = 64;

// A block that is held only while there is something in it.
class ReadBlock {
 public:
  explicit ReadBlock(http::BufferPool& pool) : pool_(pool) {}
  ReadBlock(const ReadBlock&) = delete;
  ReadBlock& operator=(const ReadBlock&) = delete;
  ~ReadBlock() { release(); }

  std::span<char> room() {
    if (block_ == nullptr) block_ = pool_.acquire(size_ = next_size_);
    return {block_, size_};
  }
  // A sender that fills the block gets a large one next time.
  void filled(std::size_t bytes) {
    next_size_ = bytes == size_ ? http::BufferPool::kLarge : http::BufferPool::kSmall;
    wrong_size_ = next_size_ > size_;
  }
  void release() {
    if (block_ != nullptr) pool_.release(block_, size_);
    block_ = nullptr;
  }
  // The content is done with.
  void emptied() {
    if (wrong_size_) release();
    wrong_size_ = false;
  }

 private:
  http::BufferPool& pool_;
  char* block_ = nullptr;
  std::size_t size_ = 0;
  std::size_t next_size_ = http::BufferPool::kSmall;
  bool wrong_size_ = false;
};

struct Side {
  Side(const http::UpgradedStream& from, Origin the_origin, Nanoseconds the_stall, Instant now)
      : stream(*from.stream), read_ahead(from.read_ahead), origin(the_origin), stall(the_stall), last_heard(now) {}

  net::Stream& stream;
  std::span<const char> read_ahead;
  Origin origin;
  Nanoseconds stall;
  http::WebSocketFrames frames;  // that came from it
  std::uint64_t passed = 0;      // bytes of them
  Counter* bytes = nullptr;
  Counter* messages = nullptr;

  void heard(Instant now) {
    last_heard = now;
    asked.reset();
  }

  Instant last_heard;
  std::optional<Instant> asked;                   // the oldest Ping that it has not reacted to
  Instant pinged{};                               // when DAO sent it a Ping of its own
  std::uint16_t owed = 0;                         // the code of the Close it is to get
  bool told_close = false;                        // a Close was written to it: nothing may follow
  bool gone = false;                              // nothing more is read from it
  bool deaf = false;                              // nothing more is written to it
  std::optional<rt::Cancel> wake{std::in_place};  // calls off the waits of the task that reads from it
};

class Tunnel {
 public:
  explicit Tunnel(const TunnelInput& input)
      : in_(input),
        client_(input.client, Origin::client, input.client_stall, input.loop.now()),
        backend_(input.backend, Origin::backend, input.backend_stall, input.loop.now()) {
    client_.bytes = &in_.counters.websocket_bytes_from_client;
    client_.messages = &in_.counters.websocket_messages_from_client;
    backend_.bytes = &in_.counters.websocket_bytes_from_backend;
    backend_.messages = &in_.counters.websocket_messages_from_backend;
    drain_.tunnel = this;
    drain_.cancelled = [](rt::Cancel::Hook& self, ErrorKind) { static_cast<DrainHook&>(self).tunnel->drained(); };
    give_up_.tunnel = this;
    give_up_.fire = [](rt::Timer& self) {
      Tunnel& tunnel = *static_cast<GiveUpTimer&>(self).tunnel;
      tunnel.given_up_ = true;
      tunnel.wake_both();
    };
  }
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel() {
    drain_.unlink();
    in_.loop.timers().cancel(give_up_);
  }

  rt::Task<TunnelOutcome> run();

 private:
  struct DrainHook : rt::Cancel::Hook {
    Tunnel* tunnel = nullptr;
  };
  struct GiveUpTimer : rt::Timer {
    Tunnel* tunnel = nullptr;
  };

  // Until nothing more is to come from `from`; returns the bytes that were passed.
  rt::Task<std::uint64_t> relay(Side& from, Side& to);
  rt::Task<> pass(Side& from, Side& to, std::span<const char> bytes);
  rt::Task<> write(Side& from, Side& to, std::span<const char> bytes);
  rt::Task<> say(Side& from, Side& to, unsigned opcode, std::span<const unsigned char> payload);
  rt::Task<> say_close(Side& from, Side& to);
  rt::Task<> silent(Side& from, Side& to);
  // Follows `bytes` and counts; returns how many of them were followed.
  std::size_t follow(Side& from, Side& to, std::span<const char> bytes, bool one_frame);
  [[nodiscard]] Instant silence_ends(const Side& from, const Side& to) const;
  [[nodiscard]] Instant ping_due(const Side& from, const Side& to) const;
  static bool close_is_due(const Side& from, const Side& to) {
    return to.owed != 0 && !to.told_close && !to.deaf && from.frames.at_boundary();
  }

  void drained();
  void lost(Side& side, ErrorKind kind, int sys_errno);
  void ended_by(WebSocketEnd end, const Error& error);
  // From now on the tunnel has kCloseTime left.
  void begin_ending();
  void wake_both() {
    client_.wake->request();
    backend_.wake->request();
  }

  const TunnelInput& in_;
  Side client_;
  Side backend_;
  DrainHook drain_;
  GiveUpTimer give_up_;
  bool ending_ = false;
  bool given_up_ = false;
  bool end_known_ = false;
  TunnelOutcome outcome_;
};

rt::Task<TunnelOutcome> Tunnel::run() {
  if (in_.drain.requested()) {
    drained();
  } else {
    in_.drain.add(drain_);
  }
  auto both = rt::join(relay(client_, backend_), relay(backend_, client_));
  std::tie(outcome_.from_client, outcome_.from_backend) = co_await std::move(both);
  co_return outcome_;
}

rt::Task<std::uint64_t> Tunnel::relay(Side& from, Side& to) {
  ReadBlock block(in_.buffers);
  std::span<const char> bytes = from.read_ahead;
  std::size_t lent = 0;  // of `bytes`, by the stream
  Instant batch{};
  std::uint32_t in_batch = 0;
  for (;;) {
    auto passing = pass(from, to, bytes);
    co_await std::move(passing);
    bytes = {};
    if (lent > 0) from.stream.consume(std::exchange(lent, 0));
    block.emptied();
    if (from.frames.closed() || from.gone || given_up_) break;

    if (in_.loop.now() != batch) {
      batch = in_.loop.now();
      in_batch = 0;
    } else if (++in_batch == kPiecesPerBatch) {
      const rt::Wake wake = co_await rt::sleep_until(in_.loop, in_.loop.now());
      static_cast<void>(wake);
    }
    if (!from.stream.may_read()) {
      block.release();
      const rt::Wake wake = co_await from.stream.wait_readable(in_.loop, silence_ends(from, to), &*from.wake);
      if (wake == rt::Wake::cancelled) {
        from.wake.emplace();
        continue;
      }
      if (wake == rt::Wake::timed_out) {
        auto asking = silent(from, to);
        co_await std::move(asking);
        continue;
      }
    }
    bytes = from.stream.buffered();
    if (!bytes.empty()) {
      lent = bytes.size();
      from.heard(in_.loop.now());
      continue;
    }
    const std::span<char> room = block.room();
    const net::IoResult got = from.stream.try_read(room);
    switch (got.status) {
      case net::IoStatus::ok:
        block.filled(got.bytes);
        bytes = room.first(got.bytes);
        from.heard(in_.loop.now());
        break;
      case net::IoStatus::end:
        lost(from, ErrorKind::closed, 0);
        break;
      case net::IoStatus::failed:
        lost(from, from.stream.error_of(got, from.origin).kind, got.sys_errno);
        break;
      case net::IoStatus::would_block:
        break;
    }
  }
  if (from.frames.closed()) {
    ended_by(from.origin == Origin::client ? WebSocketEnd::client_close : WebSocketEnd::backend_close, Error{});
    to.wake->request();  // its answer is due
  } else if (from.gone && !to.told_close) {
    // Its last frame is cut: there is no place for a Close, so nothing is left to wait for.
    given_up_ = true;
    wake_both();
  }
  co_return from.passed;
}

std::size_t Tunnel::follow(Side& from, Side& to, std::span<const char> bytes, bool one_frame) {
  const std::uint64_t messages = from.frames.messages();
  const std::uint64_t pings = from.frames.pings();
  const std::size_t followed = one_frame ? from.frames.follow_frame(bytes) : from.frames.follow(bytes);
  if (to.told_close || to.deaf) return followed;
  from.passed += followed;
  from.bytes->add(followed);
  from.messages->add(from.frames.messages() - messages);
  if (from.frames.pings() != pings && !to.asked) to.asked = in_.loop.now();
  return followed;
}

rt::Task<> Tunnel::pass(Side& from, Side& to, std::span<const char> bytes) {
  for (;;) {
    if (close_is_due(from, to)) {
      auto saying = say_close(from, to);
      co_await std::move(saying);
    }
    if (bytes.empty() || from.frames.closed()) co_return;
    const bool discard = to.told_close || to.deaf;
    const std::span<const char> now = bytes.first(follow(from, to, bytes, to.owed != 0));
    bytes = bytes.subspan(now.size());
    if (!discard) {
      iovec piece = http::h1::piece_of(now);
      std::span<iovec> pieces{&piece, 1};
      co_await rt::after_others(in_.loop);
      bool any_sent = false;
      const Result<bool> at_once = http::h1::try_write_all(to.stream, pieces, to.origin, any_sent);
      if (!at_once || !*at_once) {
        auto writing = write(from, to, {static_cast<const char*>(piece.iov_base), piece.iov_len});
        co_await std::move(writing);
      }
    }
    if (from.frames.closed()) to.told_close = true;
  }
}

rt::Task<> Tunnel::write(Side& from, Side& to, std::span<const char> bytes) {
  iovec piece = http::h1::piece_of(bytes);
  for (;;) {
    auto writing = http::h1::write_all(in_.loop, to.stream, {&piece, 1}, to.origin, to.stall, &*from.wake);
    const Result<> written = co_await std::move(writing);
    if (written) co_return;
    if (written.error().kind == ErrorKind::cancelled) {
      from.wake.emplace();
      if (!given_up_) continue;
      to.deaf = true;
      to.stream.abandon_write();
      co_return;
    }
    to.deaf = true;
    to.stream.abandon_write();
    if (written.error().kind == ErrorKind::timeout_write) {
      lost(to, ErrorKind::timeout_write, 0);
    } else {
      // What it sent before it went may still be read, a Close perhaps.
      begin_ending();
    }
    co_return;
  }
}

rt::Task<> Tunnel::say(Side& from, Side& to, unsigned opcode, std::span<const unsigned char> payload) {
  constexpr unsigned kFin = 0x80;
  constexpr unsigned kMasked = 0x80;
  std::array<char, 16> frame;
  std::size_t size = 0;
  const auto put = [&](unsigned byte) { frame[size++] = static_cast<char>(byte); };
  const bool masked = to.origin == Origin::backend;  // DAO is its client (RFC 6455 section 5.3)
  put(kFin | opcode);
  put((masked ? kMasked : 0U) | static_cast<unsigned>(payload.size()));
  std::array<unsigned char, 4> mask{};
  if (masked) {
    const std::uint64_t random = in_.random.next();
    for (std::size_t i = 0; i < mask.size(); ++i) {
      mask[i] = static_cast<unsigned char>(random >> (32U + 8 * i));
      put(mask[i]);
    }
  }
  for (std::size_t i = 0; i < payload.size(); ++i) put(static_cast<unsigned>(payload[i] ^ mask[i % mask.size()]));
  auto writing = write(from, to, std::span{frame}.first(size));
  co_await std::move(writing);
}

rt::Task<> Tunnel::say_close(Side& from, Side& to) {
  constexpr unsigned kClose = 0x8;
  const std::array<unsigned char, 2> code{static_cast<unsigned char>(to.owed >> 8U),
                                          static_cast<unsigned char>(to.owed & 0xffU)};
  to.told_close = true;
  auto saying = say(from, to, kClose, code);
  co_await std::move(saying);
}

Instant Tunnel::ping_due(const Side& from, const Side& to) const {
  if (in_.ping_interval == Nanoseconds::zero() || to.told_close || to.deaf || !from.frames.at_boundary()) return kNever;
  return std::max(to.last_heard, to.pinged) + in_.ping_interval;
}

Instant Tunnel::silence_ends(const Side& from, const Side& to) const {
  if (ending_) return kNever;  // the timer ends it
  if (to.frames.closed()) return std::max(from.last_heard, to.last_heard) + kCloseTime;
  Instant ends = ping_due(from, to);
  if (in_.idle_timeout > Nanoseconds::zero()) {
    const Instant since = from.asked ? *from.asked : std::max(from.last_heard, to.last_heard);
    ends = std::min(ends, since + in_.idle_timeout);
  }
  return ends;
}

rt::Task<> Tunnel::silent(Side& from, Side& to) {
  const Instant now = in_.loop.now();
  if (now < silence_ends(from, to)) co_return;
  if (to.frames.closed()) {
    lost(from, ErrorKind::timeout_idle, 0);
    co_return;
  }
  const bool asked = from.asked && in_.idle_timeout > Nanoseconds::zero();
  if (asked && *from.asked + in_.idle_timeout <= now) {
    lost(from, ErrorKind::timeout_idle, 0);
    co_return;
  }
  if (ping_due(from, to) <= now) {
    constexpr unsigned kPing = 0x9;
    to.pinged = now;
    if (!to.asked) to.asked = now;
    auto saying = say(from, to, kPing, {});
    co_await std::move(saying);
    co_return;
  }
  ended_by(WebSocketEnd::idle, Error{});
  client_.owed = backend_.owed = kGoingAway;
  begin_ending();
}

void Tunnel::drained() {
  ended_by(WebSocketEnd::drain, Error{});
  client_.owed = backend_.owed = kServiceRestart;
  begin_ending();
}

void Tunnel::lost(Side& side, ErrorKind kind, int sys_errno) {
  side.gone = true;
  const bool is_client = side.origin == Origin::client;
  const bool silence = kind == ErrorKind::timeout_idle || kind == ErrorKind::timeout_write;
  const Error error{.origin = side.origin,
                    .kind = kind,
                    .sent = Sent::answered,
                    .sys_errno = sys_errno,
                    .detail = silence     ? "the WebSocket peer was silent too long"
                              : is_client ? "the client left without a WebSocket Close"
                                          : "the backend left without a WebSocket Close"};
  if (silence) {
    ended_by(is_client ? WebSocketEnd::client_timeout : WebSocketEnd::backend_timeout, error);
  } else {
    ended_by(is_client ? WebSocketEnd::client_lost : WebSocketEnd::backend_lost, error);
  }
  Side& other = is_client ? backend_ : client_;
  const bool orderly = is_client || kind == ErrorKind::closed;
  if (other.owed == 0) other.owed = orderly ? kGoingAway : kUnexpected;
  // It may hear although it does not speak.
  if (silence && side.owed == 0) side.owed = kGoingAway;
  begin_ending();
}

void Tunnel::ended_by(WebSocketEnd end, const Error& error) {
  if (end_known_) return;
  end_known_ = true;
  outcome_.end = end;
  outcome_.error = error;
}

void Tunnel::begin_ending() {
  if (!ending_) {
    ending_ = true;
    in_.loop.timers().schedule(give_up_, in_.loop.now() + kCloseTime);
  }
  wake_both();
}

}  // namespace

rt::Task<TunnelOutcome> tunnel(TunnelInput input) {
  input.counters.websockets.add();
  TunnelOutcome outcome;
  {
    Tunnel relay(input);
    auto running = relay.run();
    outcome = co_await std::move(running);
  }
  input.counters.websockets.subtract();
  input.counters.websocket_ends[static_cast<std::size_t>(outcome.end)].add();
  co_return outcome;
}

}  // namespace dao::server
