#include "dao/server/error_answer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>

namespace dao::server {

namespace {

ErrorAnswer client_answer(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::closed:
    case ErrorKind::reset:
    case ErrorKind::io:
    case ErrorKind::timeout_write:
      return {499, "http_request_error", "the client went away"};
    case ErrorKind::timeout_head:
      return {408, "http_request_error", "the request head did not arrive in time"};
    case ErrorKind::timeout_body:
      return {408, "http_request_error", "the request body did not arrive in time"};
    case ErrorKind::head_too_large:
      return {431, "http_request_error", "the request's header fields are too large"};
    case ErrorKind::target_too_large:
      return {414, "http_request_error", "the request target is too long"};
    case ErrorKind::body_too_large:
      return {413, "http_request_error", "the request body is too large"};
    case ErrorKind::unsupported:
      return {501, "http_request_error", "the request uses something that is not supported"};
    case ErrorKind::version:
      return {505, "http_request_error", "only HTTP/1.0 and HTTP/1.1 are spoken here"};
    case ErrorKind::expectation:
      return {417, "http_request_error", "the expectation cannot be met"};
    case ErrorKind::method_not_allowed:
      return {405, "http_request_denied", "this method is not allowed here"};
    case ErrorKind::misdirected:
      return {421, "http_request_denied", "this host is not served on this connection"};
    case ErrorKind::incomplete:
      return {400, "http_request_error", "the request was cut short"};
    default:
      return {400, "http_request_error", "the request is malformed"};
  }
}

ErrorAnswer backend_answer(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::refused:
      return {502, "connection_refused", "the upstream refused the connection"};
    case ErrorKind::unreachable:
      return {502, "destination_ip_unroutable", "the upstream cannot be reached"};
    case ErrorKind::connect_failed:
      return {502, "connection_refused", "the connection to the upstream failed"};
    case ErrorKind::closed:
    case ErrorKind::reset:
    case ErrorKind::io:
      return {502, "connection_terminated", "the upstream closed the connection without an answer"};
    case ErrorKind::stream_reset:
      return {502, "connection_terminated", "the upstream reset the exchange without an answer"};
    case ErrorKind::incomplete:
      return {502, "http_response_incomplete", "the upstream's answer was cut short"};
    case ErrorKind::malformed:
    case ErrorKind::unexpected_upgrade:
      return {502, "http_protocol_error", "the upstream's answer is not valid HTTP"};
    case ErrorKind::body_too_large:
      return {502, "http_response_body_size", "the upstream's answer is too large"};
    case ErrorKind::head_too_large:
      return {502, "http_response_header_section_size", "the upstream's header fields are too large"};
    case ErrorKind::tls_protocol:
      return {502, "tls_protocol_error", "the upstream and the proxy could not agree on TLS"};
    case ErrorKind::tls_certificate:
      return {502, "tls_certificate_error", "the upstream's certificate was not accepted"};
    case ErrorKind::tls_alert:
      return {502, "tls_alert_received", "the upstream refused the TLS connection"};
    case ErrorKind::timeout_connect:
      return {504, "connection_timeout", "the upstream did not accept the connection in time"};
    case ErrorKind::silent:
    case ErrorKind::timeout_head:
    case ErrorKind::timeout_body:
    case ErrorKind::timeout_idle:
      return {504, "connection_read_timeout", "the upstream did not answer in time"};
    case ErrorKind::timeout_write:
      return {504, "connection_write_timeout", "the upstream did not read in time"};
    case ErrorKind::timeout_total:
      return {504, "http_response_timeout", "the upstream did not finish in time"};
    case ErrorKind::dns_timeout:
      return {504, "dns_timeout", "the upstream's name was not resolved in time"};
    case ErrorKind::dns_error:
      return {502, "dns_error", "the upstream's name cannot be resolved"};
    default:
      return {502, "proxy_internal_error", "the exchange with the upstream failed"};
  }
}

}  // namespace

ErrorAnswer answer_for(const Error& error) {
  switch (error.origin) {
    case Origin::client:
      return client_answer(error.kind);
    case Origin::backend:
      return backend_answer(error.kind);
    case Origin::us:
    case Origin::config:
      break;
  }
  switch (error.kind) {
    case ErrorKind::no_route:
      return {404, "destination_not_found", "no route matches this request"};
    case ErrorKind::no_upstream:
      return {503, "destination_unavailable", "no upstream can take this request", true};
    case ErrorKind::address_denied:
      return {403, "http_request_denied", "this client may not ask for this"};
    case ErrorKind::rate_limited:
      return {429, "http_request_denied", "too many requests"};
    case ErrorKind::connection_limit:
    case ErrorKind::client_connection_limit:
      return {503, "connection_limit_reached", "too many connections", true};
    case ErrorKind::queue_full:
      return {503, "connection_limit_reached", "every upstream is busy, and too many requests wait", true};
    case ErrorKind::timeout_queue:
      return {503, "connection_limit_reached", "no upstream had room in time", true};
    default:
      return {500, "proxy_internal_error", "the proxy failed"};
  }
}

std::string_view reason_phrase(std::uint16_t status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 410:
      return "Gone";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

std::string error_body(const ErrorAnswer& answer, bool json) {
  if (json) {
    return fmt::format(R"({{"type":"about:blank","title":"{}","status":{},"detail":"{}","error":"{}"}})"
                       "\n",
                       reason_phrase(answer.status), answer.status, answer.sentence, answer.proxy_status);
  }
  return fmt::format("{} {}: {}\n", answer.status, reason_phrase(answer.status), answer.sentence);
}

bool prefers_json(std::string_view accept) {
  const std::size_t json = std::min(accept.find("application/json"), accept.find("application/problem+json"));
  if (json == std::string_view::npos) return false;
  return json < accept.find("text/");
}

}  // namespace dao::server
