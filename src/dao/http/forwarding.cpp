#include "dao/http/forwarding.h"

#include <charconv>
#include <limits>

#include "dao/http/h1/syntax.h"

namespace dao::http {

namespace {

// Connection must not be used to take fields away that the message cannot do without, or that say who asked.
bool may_be_nominated(FieldId id) {
  switch (id) {
    case FieldId::host:
    case FieldId::content_length:
    case FieldId::via:
    case FieldId::forwarded:
    case FieldId::x_forwarded_for:
    case FieldId::x_forwarded_host:
    case FieldId::x_forwarded_proto:
      return false;
    default:
      return true;
  }
}

void drop_hop_by_hop(Head& head) {
  bool named = false;
  for (Field& field : head.fields) {
    if (field.id == FieldId::connection) {
      field.dropped = true;
      // The usual values name no field: no need to look for one.
      if (!equals_ignoring_case(field.value, "keep-alive") && !equals_ignoring_case(field.value, "close")) named = true;
    } else if (is_hop_by_hop(field.id)) {
      field.dropped = true;
    }
  }
  if (!named) return;
  for (const Field& connection : head.fields) {
    if (connection.id != FieldId::connection) continue;
    h1::for_each_element(connection.value, [&head](std::string_view option) {
      for (Field& field : head.fields) {
        if (may_be_nominated(field.id) && equals_ignoring_case(field.name, option)) field.dropped = true;
      }
    });
  }
}

void drop_all(Head& head, FieldId id) {
  for (Field& field : head.fields) {
    if (field.id == id) field.dropped = true;
  }
}

// The values of all fields of this kind as one list, with `more` at the end; the fields are dropped.
std::string_view join_list(Head& head, FieldId id, std::string_view more) {
  std::size_t size = more.size();
  for (const Field& field : head.fields) {
    if (field.id == id && !field.dropped) size += field.value.size() + 2;
  }
  if (size == more.size()) return more;
  char* begin = head.arena.allocate(size);
  char* at = begin;
  for (Field& field : head.fields) {
    if (field.id != id || field.dropped) continue;
    field.dropped = true;
    if (field.value.empty()) continue;
    at += field.value.copy(at, field.value.size());
    *at++ = ',';
    *at++ = ' ';
  }
  at += more.copy(at, more.size());
  return {begin, static_cast<std::size_t>(at - begin)};
}

std::string_view via_value(Head& head, std::string_view pseudonym) {
  char* begin = head.arena.allocate(4 + pseudonym.size());
  begin[0] = static_cast<char>('0' + head.version_major);
  begin[1] = '.';
  begin[2] = static_cast<char>('0' + head.version_minor);
  begin[3] = ' ';
  pseudonym.copy(begin + 4, pseudonym.size());
  return {begin, 4 + pseudonym.size()};
}

// for=192.0.2.1;host=example.org;proto=http, quoted where RFC 7239 section 4 asks for it.
std::string_view forwarded_element(RequestHead& head, const net::Peer& peer, std::string_view scheme) {
  const std::string_view ip = peer.ip_text();
  char* begin = head.arena.allocate(ip.size() + head.authority.size() + scheme.size() + 40);
  char* at = begin;
  const auto put = [&at](std::string_view text) { at += text.copy(at, text.size()); };
  put("for=");
  if (peer.is_unix()) {
    put("_unix");
  } else if (peer.is_v6()) {
    put("\"[");
    put(ip);
    put("]\"");
  } else {
    put(ip);
  }
  if (!head.authority.empty()) {
    const bool token = h1::is_token(head.authority);
    put(token ? ";host=" : ";host=\"");
    put(head.authority);
    if (!token) put("\"");
  }
  put(";proto=");
  put(scheme);
  return {begin, static_cast<std::size_t>(at - begin)};
}

}  // namespace

void prepare_request(RequestHead& head, const ForwardingRules& rules, const net::Peer& peer, bool trusted,
                     std::string_view scheme) {
  drop_hop_by_hop(head);
  if (!head.expect_continue) drop_all(head, FieldId::expect);

  if (head.absolute_form) {
    // RFC 9112 section 3.2.2: the target's authority replaces whatever Host said.
    bool replaced = false;
    for (Field& field : head.fields) {
      if (field.id != FieldId::host) continue;
      field.replace_value(head.authority);
      replaced = true;
    }
    if (!replaced) head.add("Host", head.authority, FieldId::host);
  }

  if (!trusted) {
    for (Field& field : head.fields) {
      switch (field.id) {
        case FieldId::forwarded:
        case FieldId::x_forwarded_for:
        case FieldId::x_forwarded_host:
        case FieldId::x_forwarded_proto:
          field.dropped = true;
          break;
        default:
          break;
      }
    }
  }
  if (rules.x_forwarded) {
    const std::string_view addresses = join_list(head, FieldId::x_forwarded_for, peer.ip_text());
    head.add("X-Forwarded-For", addresses, FieldId::x_forwarded_for);
    if (head.find(FieldId::x_forwarded_proto) == nullptr)
      head.add("X-Forwarded-Proto", scheme, FieldId::x_forwarded_proto);
    if (!head.authority.empty() && head.find(FieldId::x_forwarded_host) == nullptr) {
      head.add("X-Forwarded-Host", head.authority, FieldId::x_forwarded_host);
    }
  }
  if (rules.forwarded) {
    const std::string_view elements = join_list(head, FieldId::forwarded, forwarded_element(head, peer, scheme));
    head.add("Forwarded", elements, FieldId::forwarded);
  }
  head.add("Via", via_value(head, rules.via), FieldId::via);
}

void prepare_response(ResponseHead& head, const ForwardingRules& rules, std::string_view date) {
  drop_hop_by_hop(head);
  if (!date.empty() && head.find(FieldId::date) == nullptr) head.add("Date", date, FieldId::date);
  head.add("Via", via_value(head, rules.via), FieldId::via);
}

Hops count_down_max_forwards(RequestHead& head) {
  if (head.method != Method::trace && head.method != Method::options) return Hops::forward;
  Field* field = nullptr;
  for (Field& each : head.fields) {
    if (each.id != FieldId::max_forwards || each.dropped) continue;
    if (field != nullptr) return Hops::invalid;  // not a list: two readers would stop at different hops
    field = &each;
  }
  if (field == nullptr) return Hops::forward;
  const char* const end = field->value.data() + field->value.size();
  std::uint32_t hops = 0;
  const auto [stopped_at, error] = std::from_chars(field->value.data(), end, hops);
  if (stopped_at != end || error == std::errc::invalid_argument) return Hops::invalid;
  if (error == std::errc::result_out_of_range) hops = std::numeric_limits<std::uint32_t>::max();  // our maximum
  if (hops == 0) return Hops::answer;
  char digits[16];
  const auto printed = std::to_chars(digits, digits + sizeof digits, hops - 1);
  field->replace_value(head.arena.copy({digits, static_cast<std::size_t>(printed.ptr - digits)}));
  return Hops::forward;
}

}  // namespace dao::http
