#include "dao/server/hash_key.h"

#include "dao/align/stable_hash.h"
#include "dao/flow/client_address.h"

namespace dao::server {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// RFC 6265 section 4.2.1: pairs with "=" between "; ". HTTP/2 may send several fields (RFC 9113 section 8.2.3).
std::optional<std::string_view> cookie(const http::RequestHead& request, std::string_view name) {
  for (const http::Field& field : request.fields) {
    if (field.dropped || !http::equals_ignoring_case(field.name, "cookie")) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::size_t end = rest.find(';');
      const std::string_view pair = trimmed(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
      const std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == name) return pair.substr(equals + 1);
    }
  }
  return std::nullopt;
}

std::uint64_t nonzero(std::uint64_t hash) {
  return hash == 0 ? 1 : hash;
}

}  // namespace

std::uint64_t hash_of(const config::HashKey& key, const http::RequestHead& request,
                      std::span<const std::uint8_t> client) {
  switch (key.kind) {
    case config::HashKey::Kind::client:
      return client.empty() ? 0 : nonzero(align::stable_hash(client));
    case config::HashKey::Kind::header:
      if (const http::Field* field = request.find(key.name)) return nonzero(align::stable_hash(field->value));
      return 0;
    case config::HashKey::Kind::cookie:
      if (const auto value = cookie(request, key.name)) return nonzero(align::stable_hash(*value));
      return 0;
  }
  return 0;
}

std::optional<std::uint64_t> hash_of(const config::HashKey& key, std::string_view value) {
  if (key.kind != config::HashKey::Kind::client) return nonzero(align::stable_hash(value));
  const std::optional<flow::ClientAddress> client = flow::parse_client_address(value);
  if (!client) return std::nullopt;
  return nonzero(align::stable_hash(client->span()));
}

}  // namespace dao::server
