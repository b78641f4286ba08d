// Any bytes as the beginning of a connection: what is accepted is accepted at exactly its length, refused is refused
// whatever follows, and no shorter piece of an accepted header is refused. Whoever it names is announced to a backend
// by a header that names the same one, whatever is known of TLS.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "dao/net/proxy_protocol.h"
#include "oracle.h"

using namespace dao;

namespace {

void check_round_trip(const net::Peer& client, std::string_view input) {
  // Any bytes as what a client chose: its names are passed on.
  net::TlsFacts tls;
  tls.version = "TLSv1.3";
  tls.cipher = "TLS_AES_128_GCM_SHA256";
  tls.alpn = input.substr(0, input.size() / 4);
  tls.server_name = input.substr(input.size() / 2);
  tls.client_common_name = input;
  tls.client_verified = input.size() % 2 == 0;
  tls.resumed = input.size() % 3 == 0;
  for (const net::ProxyVersion version : {net::ProxyVersion::v1, net::ProxyVersion::v2}) {
    for (const net::TlsFacts* facts : std::initializer_list<const net::TlsFacts*>{nullptr, &tls}) {
      std::string written;
      net::write_proxy_header(version, client, facts, written);
      const std::string followed = written + "PROXY and more";
      const Result<net::ProxyHeader> read = net::parse_proxy_header(followed);
      fuzz::check(read && read->bytes == written.size(), "what is written is read, and ends where it ends");
      fuzz::check(read->source.has_value() != client.is_unix(), "a client with an address is named");
      if (!read->source) continue;
      fuzz::check(read->source->is(client), "the same client");
      fuzz::check(
          client.destination().empty() || (std::ranges::equal(read->source->destination(), client.destination()) &&
                                           read->source->destination_port() == client.destination_port()),
          "the same destination");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Result<net::ProxyHeader> whole = net::parse_proxy_header(input);
  if (whole && whole->bytes > 0) {
    fuzz::check(whole->bytes <= input.size() && whole->bytes <= net::kProxyHeaderMax, "within the input and the limit");
    fuzz::check(!whole->source || whole->source->is_unix() || !whole->source->ip_text().empty(), "a source has text");
    check_round_trip(whole->source.value_or(net::Peer()), input);
  }
  if (whole && whole->bytes == 0) {
    fuzz::check(input.size() < net::kProxyHeaderMax, "a connection does not wait for ever");
  }
  bool refused = false;
  for (std::size_t length = 0; length <= input.size() && length <= net::kProxyHeaderMax; ++length) {
    const Result<net::ProxyHeader> part = net::parse_proxy_header(input.substr(0, length));
    refused = refused || !part;
    fuzz::check(refused == !part, "what was refused stays refused");
    if (part && part->bytes > 0) {
      fuzz::check(part->bytes == length, "accepted as soon as it is there");
      fuzz::check(whole && whole->bytes == length, "what follows changes nothing");
      return 0;
    }
  }
  fuzz::check(!whole == refused, "the same in one piece");
  return 0;
}
