#include "dao/http/h2/server_tunnel.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "dao/http/h2/server_session.h"
#include "dao/http/h2/server_stream.h"

namespace dao::http::h2 {

using net::IoResult;
using net::IoStatus;

bool ServerTunnel::may_read() const {
  return stream_.inbox_.size() > 0 || stream_.input_ended_ || stream_.lost();
}

std::span<const char> ServerTunnel::buffered() const {
  return stream_.inbox_.front();
}

void ServerTunnel::consume(std::size_t bytes) {
  stream_.consume_input(bytes);
}

IoResult ServerTunnel::try_read(std::span<char> into) {
  const std::span<const char> front = buffered();
  if (!front.empty()) {
    const std::size_t bytes = std::min(front.size(), into.size());
    std::memcpy(into.data(), front.data(), bytes);
    consume(bytes);
    return {IoStatus::ok, 0, bytes};
  }
  if (stream_.lost_ == ErrorKind::closed || (stream_.input_ended_ && !stream_.lost())) return {IoStatus::end};
  if (stream_.lost()) return {IoStatus::failed, ECONNRESET};
  return {IoStatus::would_block};
}

IoResult ServerTunnel::try_write(std::span<const iovec> pieces) {
  if (stream_.lost() || stream_.aborted_) return {IoStatus::failed, EPIPE};
  const auto piece = std::ranges::find_if(pieces, [](const iovec& each) { return each.iov_len > 0; });
  if (piece == pieces.end()) return {IoStatus::ok};
  if (pledged_ == 0) {
    pledged_ = piece->iov_len;
    stream_.pledge({static_cast<const char*>(piece->iov_base), piece->iov_len});
    if (stream_.lost()) return {IoStatus::failed, EPIPE};
  } else {
    assert(pledged_ <= piece->iov_len);
    assert(static_cast<const char*>(piece->iov_base) + pledged_ == stream_.outbox_.data() + stream_.outbox_.size());
  }
  const std::size_t taken = pledged_ - stream_.outbox_.size();
  pledged_ = stream_.outbox_.size();
  if (taken == 0) return {IoStatus::would_block};
  return {IoStatus::ok, 0, taken};
}

void ServerTunnel::abandon_write() {
  pledged_ = 0;
  stream_.outbox_ = {};
  stream_.aborted_ = true;  // frames may be cut: this must not look like an end
}

bool ServerTunnel::held_up_by_others() const {
  return stream_.others_move();
}

std::size_t ServerTunnel::unread_by_peer() const {
  return stream_.outbox_.size();
}

Error ServerTunnel::error_of(const IoResult& result, Origin origin) const {
  if (!stream_.lost()) return net::Stream::error_of(result, origin);
  return {.origin = origin, .kind = stream_.lost_, .sent = Sent::maybe, .sys_errno = result.sys_errno};
}

void ServerTunnel::lost() {
  readable.set();
  writable.set();
  set_peer_gone();
}

}  // namespace dao::http::h2
