#include "dao/server/upstream_tls.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

#include "dao/net/tls_stream.h"

namespace dao::server {

namespace {

net::TlsClientSettings settings_of(const config::Upstream& upstream) {
  net::TlsClientSettings settings;
  settings.server_name = upstream.tls.server_name.empty() ? upstream.url.host : upstream.tls.server_name;
  if (settings.server_name.ends_with('.')) settings.server_name.pop_back();
  settings.verify = upstream.tls.verify;
  settings.ca_file = upstream.tls.ca;
  settings.certificate_file = upstream.tls.cert;
  settings.key_file = upstream.tls.key;
  if (upstream.tls.protocols.h2) settings.alpn.emplace_back("h2");
  if (upstream.tls.protocols.h1) settings.alpn.emplace_back("http/1.1");
  return settings;
}

std::string making_of(const net::TlsClientSettings& settings) {
  std::string text = settings.server_name + (settings.verify ? "\nverified\n" : "\nunverified\n");
  for (const std::string& protocol : settings.alpn) text += protocol + '\n';
  for (const std::string& path : {settings.ca_file, settings.certificate_file, settings.key_file}) {
    struct stat status{};
    text += path + '\n';
    if (path.empty() || stat(path.c_str(), &status) != 0) continue;
    text += fmt::format("{}.{}.{}.{}.{}\n", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec, status.st_ctim.tv_nsec);
  }
  return text;
}

}  // namespace

std::expected<UpstreamTlsContexts, std::string> make_upstream_tls(const config::Config& config,
                                                                  const UpstreamTlsContexts* before) {
  UpstreamTlsContexts contexts;
  for (const config::Upstream& upstream : config.upstreams) {
    contexts.by_index.emplace_back();
    if (upstream.url.scheme != config::Scheme::https) continue;
    const net::TlsClientSettings settings = settings_of(upstream);
    const std::string making = making_of(settings);
    auto& context = contexts.by_making[making];
    if (!context && before != nullptr) {
      const auto known = before->by_making.find(making);
      if (known != before->by_making.end()) context = known->second;
    }
    if (!context) {
      auto made = net::TlsClientContext::make(settings);
      if (!made) return std::unexpected("TLS of the upstream " + upstream.name + ": " + made.error());
      context = *std::move(made);
    }
    contexts.by_index.back() = context;
  }
  return contexts;
}

Result<std::unique_ptr<net::Stream>> TlsConnector::connect(const net::SocketAddress& to) {
  return connect(to, {});
}

Result<std::unique_ptr<net::Stream>> TlsConnector::connect_h1(const net::SocketAddress& to) {
  static const std::string only_h1 = net::alpn_wire({"http/1.1"});
  return connect(to, only_h1);
}

Result<std::unique_ptr<net::Stream>> TlsConnector::connect(const net::SocketAddress& to, std::string_view alpn) {
  if (sessions_.size() >= kSessionsMax) sessions_.clear();
  std::shared_ptr<net::TlsSessionSlot>& session = sessions_[to.text()];
  if (!session) session = std::make_shared<net::TlsSessionSlot>();
  Result<std::unique_ptr<net::TlsStream>> stream = net::TlsStream::connect(loop_, to, *context_, session, alpn);
  if (!stream) return std::unexpected(stream.error());
  return std::unique_ptr<net::Stream>(std::move(*stream));
}

}  // namespace dao::server
