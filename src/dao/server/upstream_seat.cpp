#include "dao/server/upstream_seat.h"

#include <utility>

#include "dao/server/worker_generation.h"

namespace dao::server {

namespace {

upstream::Protocol protocol_of(const config::Upstream& upstream) {
  if (upstream.url.scheme == config::Scheme::h2c) return upstream::Protocol::h2;
  const bool may_be_h2 = upstream.url.scheme == config::Scheme::https && upstream.tls.protocols.h2;
  return may_be_h2 ? upstream::Protocol::negotiated : upstream::Protocol::h1;
}

std::optional<net::ProxyVersion> proxy_version(config::ProxyAnnouncement wanted) {
  switch (wanted) {
    case config::ProxyAnnouncement::off:
      break;
    case config::ProxyAnnouncement::v1:
      return net::ProxyVersion::v1;
    case config::ProxyAnnouncement::v2:
      return net::ProxyVersion::v2;
  }
  return std::nullopt;
}

upstream::PoolSettings pool_settings(const config::Config& config, const config::Upstream& upstream) {
  const config::Proxy& proxy = config.proxy;
  upstream::PoolSettings settings;
  settings.max_idle = proxy.pool_max_idle;
  settings.idle_timeout = proxy.pool_idle_timeout;
  settings.max_sessions = proxy.http2_max_connections;
  settings.h2.response_limits = response_limits_of(config);
  settings.h2.interim_responses_max = proxy.interim_responses_max;
  settings.h2.max_streams = proxy.http2_max_streams;
  settings.h2.idle_timeout = proxy.pool_idle_timeout;
  settings.h2.ping_after = proxy.http2_ping_after;
  settings.h2.ping_timeout = proxy.http2_ping_timeout;
  settings.protocol = protocol_of(upstream);
  settings.h1_allowed = upstream.tls.protocols.h1;
  settings.h2.secure = upstream.url.scheme == config::Scheme::https;
  settings.proxy_header = proxy_version(upstream.proxy_protocol);
  return settings;
}

}  // namespace

std::string host_field_of(const config::Url& url) {
  std::string host = url.host.empty() ? "localhost" : url.host;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  const std::uint16_t usual_port = url.scheme == config::Scheme::https ? 443 : 80;
  if (url.port != 0 && url.port != usual_port) host += ":" + std::to_string(url.port);
  return host;
}

std::optional<net::SocketAddress> address_without_lookup(const config::Url& url) {
  if (url.scheme == config::Scheme::unix_socket) return net::SocketAddress::from_path(url.socket_path);
  if (url.host_is_ip) return net::SocketAddress::from_ip(url.host, url.port);
  return std::nullopt;
}

UpstreamSeat::UpstreamSeat(rt::Loop& loop, http::BufferPool& buffers, sense::UpstreamCounters& counters,
                           const config::Config& config, const config::Upstream& upstream, upstream::Connector& shared,
                           std::unique_ptr<upstream::Connector> own)
    : name(upstream.name),
      base_path(upstream.url.base_path),
      host_field(host_field_of(upstream.url)),
      own_connector(std::move(own)),
      pool(loop, own_connector ? *own_connector : shared, buffers, counters, pool_settings(config, upstream)) {
  const std::optional<net::SocketAddress> address = address_without_lookup(upstream.url);
  if (address) pool.set_addresses({*address});
}

void UpstreamSeat::configure(const config::Config& config, const config::Upstream& upstream) {
  pool.configure(pool_settings(config, upstream));
}

}  // namespace dao::server
