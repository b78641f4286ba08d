#include "dao/config/admin_keys.h"

#include <optional>
#include <string>
#include <utility>

#include "dao/config/address.h"
#include "dao/config/draft.h"
#include "dao/config/match_values.h"
#include "dao/config/schema_rows.h"

namespace dao::config {
namespace {

constexpr std::string_view kOff = "off";

Parsed<std::optional<Address>> parse_admin_bind(std::string_view text) {
  if (text == kOff) return std::optional<Address>{};
  return parse_bind(text);
}

Parsed<std::string> parse_host(std::string_view text) {
  auto pattern = parse_host_pattern(text);
  if (!pattern) return std::unexpected(std::move(pattern.error()));
  if (pattern->wildcard) {
    return std::unexpected(
        Problem{in_quotes(text) + " stands for names that others may have made", "the full name of a host"});
  }
  return std::move(pattern->text);
}

void store_trusted(void* object, const Value& value, Objections& objections) {
  auto& trusted = field_of<&Admin::explain_trusted>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    if (value.texts[i].text == "unix") {
      trusted.unix_sockets = true;
    } else if (auto block = parse_address_block(value.texts[i].text)) {
      trusted.blocks.push_back(*block);
    } else {
      objections.object(i, std::move(block.error()));
    }
  }
}

}  // namespace

Table admin_table() {
  Table table{.name = "admin",
              .doc = "What operators ask DAO and tell it: the admin API, which `daoctl` speaks (docs/admin-api.md)."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::admin>(draft); };

  Key bind = text<parse_admin_bind, &Admin::bind>(
      "bind", R"("host:port", "[ipv6]:port", "*:port", "unix:/path", "fd:NAME" or "off")",
      "Where the admin API is served; `off` = nowhere. On other addresses than those of this machine alone it needs "
      "`token_file`. A unix socket is made for the user of DAO only (mode 0600). If the default is taken, by another "
      "DAO for instance, DAO warns and serves without an admin API; an address that is given here must be free.");
  bind.fallback = kDefaultAdminBind;
  bind.pattern = "^(off|unix:/.+|fd:.+|.*:[0-9]{1,5})$";
  bind.example = R"("unix:/run/dao/admin.sock")";

  Key token = text<parse_file_path, &Admin::token_file>(
      "token_file", "the path of a file",
      "A file whose only line is the token that every request has to show (`Authorization: Bearer TOKEN`): 16 to 1024 "
      "printable characters without spaces. It is read when DAO starts. Others than its owner and group must not be "
      "able to read it, nor others than its owner to write it.");
  token.absent = "no token is asked for";
  token.example = R"("/etc/dao/admin.token")";

  Key hosts = texts<parse_host, &Admin::allow_hosts>(
      Kind::text_list, "allow_hosts", R"("admin.example.org" or an IP address)",
      "Further names that the admin API may be called by. A request with another `Host` gets a 421, so that a web page "
      "cannot reach it by a name of its own (DNS rebinding). `localhost`, `127.0.0.1`, `[::1]` and the address of "
      "`bind` are always allowed; if that is `*`, every IP address is. On a unix socket all names are.");
  hosts.fallback = std::vector<std::string_view>{};
  hosts.max_items = 64;
  hosts.example = R"(["admin.example.org"])";

  Key trusted{.name = "explain_trusted",
              .kind = Kind::text_list,
              .doc =
                  "Whose requests may ask for `x-dao-explain`: addresses of clients as the access log has them. `unix` "
                  "stands for every client on a unix socket.",
              .fallback = std::vector<std::string_view>{"127.0.0.0/8", "::1", "unix"},
              .form = R"("192.0.2.7", "10.0.0.0/8" or "unix")",
              .unique_items = true,
              .example = R"(["10.0.0.0/8"])",
              .store = store_trusted};

  table.keys = {bind, token, hosts,
                boolean<&Admin::explain_header>("explain_header", false,
                                                "A request of a trusted client with `x-dao-explain: 1` is answered "
                                                "with a field of that name, which has every "
                                                "term of the choice of the upstream."),
                trusted};
  return table;
}

}  // namespace dao::config
