#include "dao/net/stream.h"

#include <cerrno>

namespace dao::net {

Error Stream::error_of(const IoResult& result, Origin origin) const {
  return io_error(origin, result.sys_errno);
}

Error connect_error(Error error) {
  if (error.sys_errno == ETIMEDOUT) error.kind = ErrorKind::timeout_connect;
  if (error.kind == ErrorKind::io || error.kind == ErrorKind::reset) error.kind = ErrorKind::connect_failed;
  error.sent = Sent::nothing;
  return error;
}

Error io_error(Origin origin, int sys_errno) {
  ErrorKind kind = ErrorKind::io;
  switch (sys_errno) {
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
    case ETIMEDOUT:  // the peer stopped acknowledging; while connecting, see ClientConnection
      kind = ErrorKind::reset;
      break;
    case ECONNREFUSED:
    case ENOENT:
      kind = ErrorKind::refused;
      break;  // ENOENT: a unix socket that is not there
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
      kind = ErrorKind::unreachable;
      break;
    default:
      break;
  }
  return Error{.origin = origin, .kind = kind, .sys_errno = sys_errno};
}

}  // namespace dao::net
