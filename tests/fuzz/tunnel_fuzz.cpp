// Both ends of a WebSocket through server::tunnel in virtual time: bytes of frames each way in any segmentation, read
// or not, with closes, resets, silence and drain at any point. Every byte that arrives is the one that was sent, in
// order; what DAO puts in (a Close, Pings of its own) stands at frame boundaries only, and nothing comes behind a
// Close; memory stays bounded; the tunnel ends, and leaves nothing behind.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>

#include "dao/http/h1/message_io.h"
#include "dao/http/websocket_frames.h"
#include "dao/net/memory_stream.h"
#include "dao/server/tunnel.h"
#include "input.h"
#include "oracle.h"

using namespace dao;

namespace {

// One end: what it sends, and a reading of what it gets that shares nothing with http/websocket_frames.
struct End {
  explicit End(bool the_client) : client(the_client) {}

  // The length of the frame at `at`, header included; nothing while its header is not there. Lengths that RFC 6455
  // does not allow have no end.
  static std::optional<std::size_t> frame_size(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    if (text.size() < at + 2) return std::nullopt;
    std::size_t header = 2;
    std::uint64_t length = byte(1) & 0x7fU;
    const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (text.size() < at + header + more) return std::nullopt;
    if (more > 0) length = 0;
    for (std::size_t i = 0; i < more; ++i) length = length << 8U | byte(header + i);
    header += more + ((byte(1) & 0x80U) != 0 ? 4 : 0);
    if (length >> 62U != 0) return std::size_t{1} << 62U;
    return header + static_cast<std::size_t>(length);
  }

  // Takes what came of the other end's `theirs_sent`, frame by frame, and what DAO put in.
  void take(std::string_view bytes, std::string_view theirs_sent, bool pings) {
    got += bytes;
    while (!got.empty()) {
      fuzz::check(!closed, "nothing comes behind a Close");
      // Within a frame of the other end every byte is its own.
      if (left > 0) {
        const auto now = static_cast<std::size_t>(std::min<std::uint64_t>(left, got.size()));
        fuzz::check(matched + now <= theirs_sent.size() && got.compare(0, now, theirs_sent.substr(matched, now)) == 0,
                    "bytes arrive unchanged and in order");
        matched += now;
        left -= now;
        got.erase(0, now);
        if (left == 0 && is_close) closed = true;
        continue;
      }
      const std::string_view expected = theirs_sent.substr(matched);
      if (cut) {  // within a header of the other end
        const std::optional<std::size_t> size = frame_size(theirs_sent, frame_at);
        const std::size_t now = size ? 0 : got.size();
        fuzz::check(now <= expected.size() && got.compare(0, now, expected.substr(0, now)) == 0,
                    "nothing is put into a cut header");
        matched += now;
        got.erase(0, now);
        if (!size) return;
        cut = false;
        left = *size - (matched - frame_at);
        continue;
      }
      // At a boundary: the other end's next bytes, or a frame of DAO's.
      constexpr std::size_t kTellsApart = 8;  // a Close of DAO's and one of the other end
      const std::optional<std::size_t> size_of_theirs = frame_size(theirs_sent, matched);
      const std::size_t most = std::min({expected.size(), size_of_theirs.value_or(kTellsApart), kTellsApart});
      const std::size_t common = std::min(got.size(), most);
      bool theirs = common > 0 && got.compare(0, common, expected.substr(0, common)) == 0;
      if (theirs && common < most) return;
      if (!size_of_theirs && got.size() > expected.size()) theirs = false;
      if (theirs) {
        frame_at = matched;
        is_close = (static_cast<unsigned char>(theirs_sent[matched]) & 0x0fU) == 8;
        if (size_of_theirs) {
          left = *size_of_theirs;
        } else {
          cut = true;
        }
        continue;
      }
      const std::optional<std::size_t> size = frame_size(got, 0);
      if (!size || got.size() < *size) return;  // the rest is to come
      const auto opcode = static_cast<unsigned char>(got[0]);
      const auto second = static_cast<unsigned char>(got[1]);
      fuzz::check((second & 0x80U) == (client ? 0U : 0x80U), "masked as its side wants it");
      if (opcode == 0x88) {
        fuzz::check((second & 0x7fU) == 2, "a Close of DAO's is a code");
        std::array<unsigned, 2> code{static_cast<unsigned char>(got[*size - 2]),
                                     static_cast<unsigned char>(got[*size - 1])};
        if (!client) {
          code[0] ^= static_cast<unsigned char>(got[2]);
          code[1] ^= static_cast<unsigned char>(got[3]);
        }
        const unsigned value = code[0] << 8U | code[1];
        fuzz::check(value == 1001 || value == 1011 || value == 1012, "with a code of DAO's");
        closed = told = true;
      } else {
        fuzz::check(pings && opcode == 0x89 && (second & 0x7fU) == 0, "what DAO puts in is a Close or a Ping");
      }
      got.erase(0, *size);
    }
  }

  bool client;
  std::string sent;          // by this end
  std::size_t written = 0;   // of it, into the stream
  std::string got;           // not matched yet
  std::size_t matched = 0;   // of what the other end sent
  std::size_t frame_at = 0;  // where the other end's frame begins
  std::uint64_t left = 0;    // of the frame being matched
  bool is_close = false;
  bool closed = false;  // a Close has come
  bool told = false;    // from DAO
  bool cut = false;     // that frame's header is not whole
  [[nodiscard]] bool has_close_or_cut() const { return closed || left > 0 || cut || !got.empty(); }

  bool reads = true;
  bool stopped_reading = false;
  bool ended = false;
  bool finished = false;  // will write no more
  std::unique_ptr<net::MemoryStream> stream;
};

std::string frame(unsigned first, std::size_t size, bool masked) {
  std::string text(1, static_cast<char>(first));
  const unsigned mask_bit = masked ? 0x80U : 0U;
  if (size < 126) {
    text += static_cast<char>(mask_bit | size);
  } else {
    text += static_cast<char>(mask_bit | 126U);
    text += static_cast<char>(size >> 8U);
    text += static_cast<char>(size);
  }
  if (masked) text += "mask";
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 23);
  return text;
}

rt::Task<> run(server::TunnelInput input, std::optional<server::TunnelOutcome>& outcome,
               std::unique_ptr<net::MemoryStream>& client, std::unique_ptr<net::MemoryStream>& backend) {
  auto running = server::tunnel(input);
  outcome = co_await std::move(running);
  client.reset();
  backend.reset();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // Three bytes choose: timeouts, capacity of the pipes, segment size. Then steps.
  if (size < 3) return 0;
  const unsigned mode = data[0];
  const std::size_t capacity = data[1] == 0 ? 65536 : data[1];
  const std::size_t segment = data[2] == 0 ? 65536 : data[2];
  fuzz::Input input({reinterpret_cast<const char*>(data + 3), size - 3});

  rt::VirtualLoop loop;
  http::BufferPool buffers;
  Random random{1};
  sense::Shard shard{0, 0};
  rt::Cancel drain;
  End client(true);
  End backend(false);
  std::unique_ptr<net::MemoryStream> client_side;
  std::unique_ptr<net::MemoryStream> backend_side;
  std::tie(client_side, client.stream) = net::MemoryStream::make_pair(capacity);
  std::tie(backend_side, backend.stream) = net::MemoryStream::make_pair(capacity);
  const bool pings = (mode & 2U) != 0;
  std::string ahead;
  if ((mode & 4U) != 0) {
    ahead = frame(0x82, 3, false);
    backend.sent = ahead;
    backend.written = ahead.size();
  }
  std::optional<server::TunnelOutcome> outcome;
  loop.spawn(run({.loop = loop,
                  .buffers = buffers,
                  .random = random,
                  .counters = shard.worker(),
                  .client = {client_side.get(), {}},
                  .backend = {backend_side.get(), ahead},
                  .idle_timeout = std::chrono::seconds((mode & 1U) != 0 ? 0 : 60),
                  .ping_interval = std::chrono::seconds(pings ? 7 : 0),
                  .client_stall = std::chrono::seconds(30),
                  .backend_stall = std::chrono::seconds(20),
                  .drain = drain},
                 outcome, client_side, backend_side));

  const auto settle = [&] {
    for (bool moved = true; moved;) {
      moved = false;
      loop.run_for(Nanoseconds::zero());
      for (End* end : {&client, &backend}) {
        if (end->stream == nullptr) continue;
        const End& other = end == &client ? backend : client;
        std::string_view left = std::string_view{end->sent}.substr(end->written, segment);
        if (!left.empty()) {
          const iovec piece = http::h1::piece_of(left);
          const net::IoResult wrote = end->stream->try_write({&piece, 1});
          if (wrote.status == net::IoStatus::ok) {
            end->written += wrote.bytes;
            moved = true;
          }
        } else if (end->finished) {
          end->stream->shutdown_write();
          end->finished = false;
        }
        loop.run_for(Nanoseconds::zero());
        if (!end->reads || end->ended) continue;
        char bytes[1024];
        const net::IoResult got = end->stream->try_read(bytes);
        if (got.status == net::IoStatus::ok) {
          end->take({bytes, got.bytes}, other.sent, pings);
          moved = true;
        } else if (got.status != net::IoStatus::would_block) {
          end->ended = true;
        }
      }
    }
    fuzz::check(buffers.in_use() <= 2 * http::BufferPool::kLarge, "one block for each direction");
  };
  settle();
  bool orderly = true;  // nobody was cut off
  while (!input.empty()) {
    const unsigned what = input.byte();
    End& end = (what & 0x80U) != 0 ? client : backend;
    const bool masked = end.client;
    switch (what % 16U) {
      case 0:
      case 1:
        end.sent += frame(0x82, input.byte(), masked);
        break;
      case 2:
        end.sent += frame(0x01, input.byte() * 8U, masked);
        break;
      case 3:
        end.sent += frame(0x89, input.byte() % 126U, masked);
        break;
      case 4:
        end.sent += frame(0x8a, input.byte() % 126U, masked);
        break;
      case 5:
        end.sent += frame(0x88, 2 + input.byte() % 8U, masked);
        break;
      case 6:  // any bytes
        end.sent += input.take(input.byte() % 64U);
        break;
      case 7:  // a frame that is cut
        end.sent += frame(0x82, 200, masked).substr(0, 1 + input.byte() % 200U);
        break;
      case 8:
        end.finished = true;
        break;
      case 9:
        orderly = false;
        if (end.stream != nullptr) end.stream->reset();
        break;
      case 10:
        orderly = false;
        end.stream.reset();
        break;
      case 11:
        end.reads = !end.reads;
        end.stopped_reading = true;
        break;
      case 12:
        loop.run_for(std::chrono::milliseconds(input.byte() * 10));
        break;
      case 13:
        for (unsigned seconds = input.byte() % 64U; seconds > 0; --seconds) {  // who reads does so all the time
          loop.run_for(std::chrono::seconds(1));
          settle();
        }
        break;
      case 14:
        if (what == 0xfe) drain.request();
        break;
      default:
        break;
    }
    settle();
  }
  client.reads = backend.reads = true;
  if ((mode & 8U) != 0) drain.request();
  // In each turn of the loop the tunnel passes 64 pieces at most, and time is what makes turns here.
  const std::size_t to_pass = (client.sent.size() + backend.sent.size()) / (32 * std::min(capacity, segment));
  for (std::size_t second = 0; second < 200 + to_pass && !outcome; ++second) {
    loop.run_for(std::chrono::seconds(1));
    settle();
  }
  settle();
  fuzz::check(outcome.has_value() || ((mode & 1U) != 0 && (mode & 8U) == 0), "the tunnel ends");
  if (outcome) {
    // A tunnel that ends has five seconds, and turns for others in them: enough for what is on its way, if its pipes
    // are not too narrow.
    const bool fast = std::min(capacity, segment) >= 64 && client.sent.size() + backend.sent.size() <= 10'000;
    if (client.stream != nullptr && backend.stream != nullptr && orderly && fast) {
      fuzz::check(outcome->from_client >= backend.matched && outcome->from_backend >= client.matched,
                  "what arrived was counted");
      using sense::WebSocketEnd;
      const bool both = outcome->end == WebSocketEnd::idle || outcome->end == WebSocketEnd::drain;
      if ((both || outcome->end == WebSocketEnd::backend_lost) && !client.stopped_reading) {
        fuzz::check(client.has_close_or_cut(), "the client got a Close, or its frame is cut");
      }
      if ((both || outcome->end == WebSocketEnd::client_lost) && !backend.stopped_reading) {
        fuzz::check(backend.has_close_or_cut(), "the backend got a Close, or its frame is cut");
      }
    }
  }
  client.stream.reset();
  backend.stream.reset();
  loop.run();
  fuzz::check(outcome.has_value(), "at the latest when both are gone");
  fuzz::check(loop.live_tasks() == 0 && loop.timers().size() == 0, "no task and no timer is left");
  fuzz::check(buffers.in_use() == 0, "no buffer is left");
  fuzz::check(shard.worker().websockets.value() == 0, "nobody is counted as open");
  return 0;
}
