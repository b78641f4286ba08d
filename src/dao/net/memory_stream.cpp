#include "dao/net/memory_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dao::net {

std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> MemoryStream::make_pair(std::size_t capacity) {
  std::unique_ptr<MemoryStream> a{new MemoryStream(capacity)};
  std::unique_ptr<MemoryStream> b{new MemoryStream(capacity)};
  a->other_ = b.get();
  b->other_ = a.get();
  return {std::move(a), std::move(b)};
}

MemoryStream::~MemoryStream() {
  if (other_ == nullptr) return;
  other_->other_ = nullptr;
  other_->inbox_ended_ = true;
  other_->readable.set();
  other_->writable.set();
  other_->set_peer_closed();
}

IoResult MemoryStream::try_read(std::span<char> into) {
  if (was_reset_) return {IoStatus::failed, ECONNRESET};
  if (inbox_.empty()) return {inbox_ended_ ? IoStatus::end : IoStatus::would_block};
  const std::size_t count = std::min(into.size(), inbox_.size());
  std::memcpy(into.data(), inbox_.data(), count);
  inbox_.erase(0, count);
  if (other_ != nullptr) other_->writable.set();
  return {IoStatus::ok, 0, count};
}

IoResult MemoryStream::try_write(std::span<const iovec> pieces) {
  if (was_reset_) return {IoStatus::failed, ECONNRESET};
  if (other_ == nullptr) return {IoStatus::failed, EPIPE};
  if (handshaking_) return {IoStatus::would_block};
  std::size_t taken = 0;
  for (const iovec& piece : pieces) {
    const std::size_t room = other_->capacity_ - other_->inbox_.size();
    const std::size_t count = std::min(room, piece.iov_len);
    other_->inbox_.append(static_cast<const char*>(piece.iov_base), count);
    taken += count;
    if (count < piece.iov_len) break;
  }
  if (taken == 0) return {IoStatus::would_block};
  other_->readable.set();
  return {IoStatus::ok, 0, taken};
}

void MemoryStream::write_first(std::string_view bytes) {
  if (other_ != nullptr) other_->inbox_.append(bytes);
}

void MemoryStream::shutdown_write() {
  if (other_ == nullptr) return;
  other_->inbox_ended_ = true;
  other_->readable.set();
  other_->set_peer_closed();
}

void MemoryStream::agree(TlsFacts facts) {
  handshaking_ = false;
  facts_ = std::move(facts);
  writable.set();
}

IoResult MemoryStream::try_finish_connect() {
  if (was_reset_) return {IoStatus::failed, ECONNRESET};
  return {handshaking_ ? IoStatus::would_block : IoStatus::ok};
}

void MemoryStream::reset() {
  was_reset_ = true;
  if (other_ == nullptr) return;
  other_->was_reset_ = true;
  other_->readable.set();
  other_->writable.set();
  other_->set_peer_gone();
}

}  // namespace dao::net
