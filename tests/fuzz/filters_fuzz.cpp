// What the filters of a route read of a client: cookies, X-Forwarded-For, paths. Any bytes, the first line being
// the value of a field, the second one a path.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "dao/config/load.h"
#include "dao/config/text_template.h"
#include "dao/flow/client_address.h"
#include "dao/flow/cookies.h"
#include "dao/flow/facts.h"
#include "dao/flow/path_rewrite.h"
#include "dao/flow/sticky.h"
#include "dao/flow/url_text.h"
#include "oracle.h"

using namespace dao;

namespace {

const config::Config& configured() {
  static const config::Config config = [] {
    auto loaded = config::load_text(
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n[[routes.rule]]\nname = \"r\"\n"
        "[routes.rule.sticky]\ncookie = \"k\"\nsecret = \"0123456789abcdef\"\n"
        "[routes.rule.rewrite]\nregex = '/([a-z]*)/'\nreplacement = \"/<$1>$0\"\n"
        "[[routes.rule.upstreams]]\nname = \"a\"\nurl = \"http://192.0.2.1\"\n"
        "[[routes.rule.upstreams]]\nname = \"b\"\nurl = \"http://192.0.2.2\"\n",
        "fuzz");
    fuzz::check(loaded.has_value(), "the configuration is good");
    return std::move(loaded->config);
  }();
  return config;
}

void check_cookies(std::string_view field) {
  const auto found = flow::find_cookie_in(field, "k");
  fuzz::check(!found || found->find(';') == std::string_view::npos, "a value ends at a semicolon");
  const std::string more = std::string(field) + "; k=v";
  fuzz::check(flow::find_cookie_in(more, "k") == (found ? *found : std::string_view("v")), "the first one counts");
  const std::string before = "k=v;" + std::string(field);
  fuzz::check(flow::find_cookie_in(before, "k") == "v", "what follows changes nothing");
}

void check_sticky(std::string_view field) {
  static const flow::Sticky sticky(configured().rules[0], configured().upstreams, "0123456789abcdef");
  const auto position = sticky.position_of(field);
  if (!position) return;
  const std::string expected = "k=" + std::string(field) + ";";
  fuzz::check(sticky.set_cookie(*position, false).starts_with(expected), "only what DAO has made itself is taken");
}

void check_client_address(std::string_view value) {
  const auto address = net::SocketAddress::from_ip("10.1.2.3", 80);
  const net::Peer peer(address->raw());
  const config::AddressSet& trusted = configured().server.trusted_proxies;
  http::RequestHead request;
  request.add("X-Forwarded-For", value, http::FieldId::x_forwarded_for);
  const flow::ClientAddress client = flow::client_address(peer, request, trusted);
  fuzz::check(client.length == 4 || client.length == 16, "an address");
  fuzz::check(client.text == peer.ip_text() || value.find(client.text) != std::string_view::npos, "one that was told");

  const std::string forged = "198.51.100.1, " + std::string(value) + ", 192.0.2.7, 10.9.9.9";
  request.clear();
  request.add("X-Forwarded-For", forged, http::FieldId::x_forwarded_for);
  fuzz::check(flow::client_address(peer, request, trusted).text == "192.0.2.7", "nothing before it makes it another");
  fuzz::check(flow::client_address(peer, request, {}).text == peer.ip_text(), "who is not trusted is not heard");
}

void check_path(std::string_view path) {
  static const flow::PathRewrite rewrite(configured().rules[0].rewrite);
  http::RequestHead request;
  request.path = path;
  Random random(1);
  flow::Facts facts(request, random);
  rewrite.apply(request, facts);
  if (!path.starts_with('/')) {
    fuzz::check(request.path == path, "what is no path stays");
  } else {
    fuzz::check(request.path.starts_with('/'), "a path stays one");
    const std::size_t mark = path.find('?');
    if (mark != std::string_view::npos) fuzz::check(request.path.ends_with(path.substr(mark)), "the query stays");
  }
  const std::string_view safe = flow::url_safe(path, request.arena);
  fuzz::check(std::ranges::all_of(safe, [](char c) { return c > ' ' && c <= '~'; }), "fit for a URL");
  fuzz::check(flow::url_safe(safe, request.arena) == safe, "once is enough");

  const auto text = config::parse_template(path, {.captures = 9});
  if (text && path.find('$') == std::string_view::npos) {
    fuzz::check(flow::render(*text, facts, request.arena) == path, "a text without variables is itself");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view field = input.substr(0, input.find('\n'));
  check_cookies(field);
  check_sticky(field);
  check_client_address(field);
  check_path(input.substr(std::min(input.size(), field.size() + 1)));
  return 0;
}
