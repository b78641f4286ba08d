#include "dao/flow/facts.h"

#include <charconv>

#include "dao/flow/cookies.h"

namespace dao::flow {

namespace {

std::string_view digits_of(std::uint16_t number, std::array<char, 8>& digits) {
  const auto printed = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  return {digits.data(), static_cast<std::size_t>(printed.ptr - digits.data())};
}

// Of a W3C traceparent: 00-<32 hex>-<16 hex>-<2 hex>.
std::string_view trace_id_of(const http::RequestHead& request) {
  constexpr std::size_t kLength = 55;
  const http::Field* field = request.find(http::FieldId::traceparent);
  if (field == nullptr || field->value.size() < kLength || field->value[2] != '-' || field->value[35] != '-') return {};
  return field->value.substr(3, 32);
}

}  // namespace

std::string_view Facts::query() const {
  const std::size_t mark = received_.find('?');
  return mark == std::string_view::npos ? std::string_view{} : received_.substr(mark + 1);
}

std::string_view Facts::host() const {
  const std::string_view authority = request.authority;
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

std::string_view Facts::request_id() {
  if (!has_request_id_) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < request_id_.size(); ++i) {
      if (i % 16 == 0) word = random_.next();
      request_id_[i] = kHex[word & 15U];
      word >>= 4U;
    }
    has_request_id_ = true;
  }
  return {request_id_.data(), request_id_.size()};
}

std::string_view Facts::value_of(const config::TextPiece& piece) {
  using Variable = config::Variable;
  switch (piece.variable) {
    case Variable::literal:
      return piece.text;
    case Variable::client_ip:
      return client.text;
    case Variable::client_port:
      return digits_of(client_port, port_digits_);
    case Variable::scheme:
      return scheme;
    case Variable::host:
      return host();
    case Variable::authority:
      return request.authority;
    case Variable::method:
      return request.method_text;
    case Variable::path:
      return path();
    case Variable::query:
      return query();
    case Variable::request_uri:
      return received_;
    case Variable::route:
      return route;
    case Variable::upstream:
      return upstream;
    case Variable::upstream_host:
      return upstream_host;
    case Variable::intent:
      return intent;
    case Variable::split:
      return split;
    case Variable::trace_id:
      return trace_id_of(request);
    case Variable::request_id:
      return request_id();
    case Variable::status:
      return digits_of(status, status_digits_);
    case Variable::header: {
      const http::Field* field = request.find(piece.text);
      return field == nullptr ? std::string_view{} : field->value;
    }
    case Variable::cookie:
      return find_cookie(request, piece.text).value_or(std::string_view{});
    case Variable::capture:
      return piece.number < captures.size() ? captures[piece.number] : std::string_view{};
  }
  return {};
}

std::string_view render(const config::TextTemplate& text, Facts& facts, http::Arena& arena) {
  if (text.empty()) return {};
  if (text.size() == 1) return facts.value_of(text.front());
  std::size_t size = 0;
  for (const config::TextPiece& piece : text) size += facts.value_of(piece).size();
  char* const begin = arena.allocate(size);
  char* at = begin;
  for (const config::TextPiece& piece : text) {
    const std::string_view value = facts.value_of(piece);
    at += value.copy(at, value.size());
  }
  return {begin, size};
}

}  // namespace dao::flow
