#include "dao/base/error.h"

#include <cstring>

namespace dao {

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::none:
      return "none";
    case ErrorKind::closed:
      return "closed";
    case ErrorKind::reset:
      return "reset";
    case ErrorKind::stream_reset:
      return "stream_reset";
    case ErrorKind::refused:
      return "refused";
    case ErrorKind::unreachable:
      return "unreachable";
    case ErrorKind::connect_failed:
      return "connect_failed";
    case ErrorKind::io:
      return "io";
    case ErrorKind::timeout_connect:
      return "timeout_connect";
    case ErrorKind::timeout_head:
      return "timeout_head";
    case ErrorKind::timeout_body:
      return "timeout_body";
    case ErrorKind::timeout_write:
      return "timeout_write";
    case ErrorKind::timeout_idle:
      return "timeout_idle";
    case ErrorKind::silent:
      return "silent";
    case ErrorKind::timeout_total:
      return "timeout_total";
    case ErrorKind::cancelled:
      return "cancelled";
    case ErrorKind::dns_timeout:
      return "dns_timeout";
    case ErrorKind::dns_error:
      return "dns_error";
    case ErrorKind::tls_protocol:
      return "tls_protocol";
    case ErrorKind::tls_certificate:
      return "tls_certificate";
    case ErrorKind::tls_alert:
      return "tls_alert";
    case ErrorKind::malformed:
      return "malformed";
    case ErrorKind::head_too_large:
      return "head_too_large";
    case ErrorKind::target_too_large:
      return "target_too_large";
    case ErrorKind::body_too_large:
      return "body_too_large";
    case ErrorKind::unsupported:
      return "unsupported";
    case ErrorKind::version:
      return "version";
    case ErrorKind::expectation:
      return "expectation";
    case ErrorKind::method_not_allowed:
      return "method_not_allowed";
    case ErrorKind::unexpected_upgrade:
      return "unexpected_upgrade";
    case ErrorKind::misdirected:
      return "misdirected";
    case ErrorKind::incomplete:
      return "incomplete";
    case ErrorKind::proxy_header:
      return "proxy_header";
    case ErrorKind::no_route:
      return "no_route";
    case ErrorKind::no_upstream:
      return "no_upstream";
    case ErrorKind::address_denied:
      return "address_denied";
    case ErrorKind::rate_limited:
      return "rate_limited";
    case ErrorKind::connection_limit:
      return "connection_limit";
    case ErrorKind::client_connection_limit:
      return "client_connection_limit";
    case ErrorKind::queue_full:
      return "queue_full";
    case ErrorKind::timeout_queue:
      return "timeout_queue";
    case ErrorKind::draining:
      return "draining";
  }
  return "unknown";
}

std::string_view name_of(Origin origin) {
  switch (origin) {
    case Origin::client:
      return "client";
    case Origin::backend:
      return "backend";
    case Origin::us:
      return "dao";
    case Origin::config:
      return "config";
  }
  return "unknown";
}

std::string describe(const Error& error) {
  std::string text{name_of(error.origin)};
  text += ": ";
  text += name_of(error.kind);
  if (!error.detail.empty()) {
    text += " (";
    text += error.detail;
    text += ')';
  }
  if (error.sys_errno != 0) {
    text += ": ";
    text += std::strerror(error.sys_errno);
  }
  return text;
}

}  // namespace dao
