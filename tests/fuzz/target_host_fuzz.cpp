// Bytes as the request target and as Host (separated by the first line feed): whatever is accepted has an authority
// without anything that ends one, and what DAO says of it in Host, X-Forwarded-* and Forwarded can be read back.
#include "dao/http/forwarding.h"
#include "dao/http/h1/head_parser.h"
#include "oracle.h"

using namespace dao;
using http::FieldId;

namespace {

const dao::net::Peer kPeer;  // outlives the heads: X-Forwarded-For may be a view of its text

// RFC 7239 section 4: pairs of token "=" value separated by ";", elements by ",".
void check_forwarded(std::string_view text) {
  std::size_t at = 0;
  const auto token = [&] {
    const std::size_t begin = at;
    while (at < text.size() && std::string_view{"=;,\" "}.find(text[at]) == std::string_view::npos) ++at;
    fuzz::check(at > begin, "a token is not empty");
    return text.substr(begin, at - begin);
  };
  for (;;) {
    token();
    fuzz::check(at < text.size() && text[at] == '=', "name and value");
    ++at;
    if (at < text.size() && text[at] == '"') {
      const std::size_t close = text.find('"', at + 1);
      fuzz::check(close != std::string_view::npos, "a quoted string ends");
      fuzz::check(text.substr(at + 1, close - at - 1).find('\\') == std::string_view::npos, "nothing to unescape");
      at = close + 1;
    } else {
      fuzz::check(token().find_first_of("[]:@/?()<>{}\\") == std::string_view::npos, "what is no token is quoted");
    }
    if (at == text.size()) return;
    fuzz::check(text[at] == ';', "pairs are separated");
    ++at;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const std::size_t lf = input.find('\n');
  const std::string target{input.substr(0, lf)};
  const std::string host{lf == std::string_view::npos ? "a.test" : input.substr(lf + 1)};
  const std::string text = "OPTIONS " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
  http::RequestHead head;
  const Result<http::h1::ParsedBytes> parsed = http::h1::parse_request_head(text, {}, head);
  if (!parsed || *parsed != text.size() || head.fields.size() != 1) return 0;

  fuzz::check(head.target == target, "the target is what was sent");
  fuzz::check(!head.authority.empty(), "there is an authority");
  fuzz::check(head.authority.find_first_of(std::string_view{"/?#@\\\"<> \t\r\n\0", 14}) == std::string_view::npos,
              "nothing in it that ends one elsewhere");
  fuzz::check(head.path == "*" || head.path.starts_with('/'), "the path is in origin form");
  if (head.absolute_form) {
    // Put together again it is the target.
    const std::size_t after = target.find("://") + 3;
    fuzz::check(target.substr(after, head.authority.size()) == head.authority, "the authority is the target's");
    const std::string_view rest = std::string_view{target}.substr(after + head.authority.size());
    fuzz::check(rest.empty() ? head.path == "*" : rest == head.path || "/" + std::string{rest} == head.path,
                "and so is the path");
  }

  const std::string authority{head.authority};
  http::prepare_request(head, {}, kPeer, false, "http");
  fuzz::check(head.find(FieldId::host)->value == authority, "Host is the authority");
  fuzz::check(head.find(FieldId::x_forwarded_host)->value == authority, "so is X-Forwarded-Host");
  check_forwarded(head.find(FieldId::forwarded)->value);
  return 0;
}
