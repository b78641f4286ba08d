// An in-memory pair of streams for tests and simulations: what one writes the other reads, within a bounded buffer, in
// virtual time if the loop is virtual. Same contract as a socket, back-pressure included.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "dao/net/stream.h"

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
  [[nodiscard]] std::size_t unread_by_peer() const override { return other_ != nullptr ? other_->inbox_.size() : 0; }
  bool idle_and_open() override { return !may_read(); }
  void shutdown_write() override;
  // Dies like a reset connection: the other side's reads and writes fail with ECONNRESET.
  void reset();

 private:
  explicit MemoryStream(std::size_t capacity) : capacity_(capacity) {}

  MemoryStream* other_ = nullptr;
  std::size_t capacity_;
  std::string inbox_;
  bool inbox_ended_ = false;
  bool was_reset_ = false;
};

}  // namespace dao::net
