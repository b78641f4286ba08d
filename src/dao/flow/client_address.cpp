#include "dao/flow/client_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>

#include "dao/http/h1/syntax.h"

namespace dao::flow {

namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<ClientAddress> parse_client_address(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    text = text.substr(1, end - 1);
  } else if (std::ranges::count(text, ':') == 1) {
    text = text.substr(0, text.find(':'));
  }
  char terminated[INET6_ADDRSTRLEN] = {};
  if (text.size() >= sizeof terminated || text.find('\0') != std::string_view::npos) return std::nullopt;
  text.copy(terminated, text.size());
  ClientAddress address;
  address.text = text;
  if (inet_pton(AF_INET, terminated, address.bytes.data()) == 1) {
    address.length = 4;
    return address;
  }
  if (inet_pton(AF_INET6, terminated, address.bytes.data()) != 1) return std::nullopt;
  address.length = 16;
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin())) {
    std::copy_n(address.bytes.begin() + kMappedPrefix.size(), 4, address.bytes.begin());
    std::fill(address.bytes.begin() + 4, address.bytes.end(), std::uint8_t{0});
    address.length = 4;
  }
  return address;
}

ClientAddress client_address(const net::Peer& peer, const http::RequestHead& request,
                             const config::AddressSet& trusted) {
  ClientAddress client;
  std::ranges::copy(peer.bytes(), client.bytes.begin());
  client.length = static_cast<std::uint8_t>(peer.bytes().size());
  client.text = peer.ip_text();
  if (!trusted.contain(peer.bytes())) return client;
  for (auto field = request.fields.rbegin(); field != request.fields.rend(); ++field) {
    if (field->id != http::FieldId::x_forwarded_for || field->dropped) continue;
    std::string_view list = field->value;
    while (!list.empty()) {
      const std::size_t comma = list.rfind(',');
      const std::string_view element = http::h1::trim(comma == std::string_view::npos ? list : list.substr(comma + 1));
      list = comma == std::string_view::npos ? std::string_view{} : list.substr(0, comma);
      if (element.empty()) continue;
      const std::optional<ClientAddress> told = parse_client_address(element);
      if (!told) return client;  // whoever told that is the last one that is known
      client = *told;
      if (!trusted.contain(client.span())) return client;
    }
  }
  return client;
}

std::string_view client_scheme(std::string_view of_connection, bool trusted, const http::RequestHead& request) {
  if (!trusted) return of_connection;
  const http::Field* told = request.find(http::FieldId::x_forwarded_proto);
  if (told == nullptr) return of_connection;
  const std::string_view first = http::h1::trim(told->value.substr(0, told->value.find(',')));
  if (http::equals_ignoring_case(first, "https")) return "https";
  if (http::equals_ignoring_case(first, "http")) return "http";
  return of_connection;
}

}  // namespace dao::flow
