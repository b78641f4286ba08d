// Any bytes as the beginning of a connection: what is accepted is accepted at exactly its length, refused is refused
// whatever follows, and no shorter piece of an accepted header is refused.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dao/net/proxy_protocol.h"
#include "oracle.h"

using namespace dao;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Result<net::ProxyHeader> whole = net::parse_proxy_header(input);
  if (whole && whole->bytes > 0) {
    fuzz::check(whole->bytes <= input.size() && whole->bytes <= net::kProxyHeaderMax, "within the input and the limit");
    fuzz::check(!whole->source || whole->source->is_unix() || !whole->source->ip_text().empty(), "a source has text");
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
