// An in-memory pair of streams for tests and simulations: what one writes the other reads, within a bounded buffer, in
// virtual time if the loop is virtual. Same contract as a socket, back-pressure included.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dao/net/stream.h"
#include "dao/net/tls_facts.h"

namespace dao::net {

class MemoryStream final : public Stream {
 public:
  // Each direction holds at most `capacity` bytes.
  static std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> make_pair(
      std::size_t capacity = 65536);
  ~MemoryStream() override;

  IoResult try_read(std::span<char> into) override;
  [[nodiscard]] bool may_read() const override { return !inbox_.empty() || inbox_ended_ || was_reset_; }
  IoResult try_write(std::span<const iovec> pieces) override;
  void write_first(std::string_view bytes) override;
  [[nodiscard]] std::size_t unread_by_peer() const override { return other_ != nullptr ? other_->inbox_.size() : 0; }
  bool idle_and_open() override { return !may_read(); }
  void shutdown_write() override;
  // Passes for a stream of TLS whose handshake is under way: it takes no writes until agree() or reset().
  void begin_handshake() { handshaking_ = true; }
  // What the handshake came to.
  void agree(TlsFacts facts);
  [[nodiscard]] bool handshaking() const { return handshaking_; }
  IoResult try_finish_connect() override;
  [[nodiscard]] const TlsFacts* tls() const override { return facts_ ? &*facts_ : nullptr; }

  // Dies like a reset connection: the other side's reads and writes fail with ECONNRESET.
  void reset();

 private:
  explicit MemoryStream(std::size_t capacity) : capacity_(capacity) {}

  MemoryStream* other_ = nullptr;
  std::size_t capacity_;
  std::string inbox_;
  bool inbox_ended_ = false;
  bool was_reset_ = false;
  bool handshaking_ = false;
  std::optional<TlsFacts> facts_;
};

}  // namespace dao::net
