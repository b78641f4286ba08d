// Any bytes as a request head. What was accepted, written back, must be read the same; so must it when it comes in two
// pieces; and so must what is forwarded.
#include "dao/http/forwarding.h"
#include "dao/http/h1/head_parser.h"
#include "oracle.h"

namespace {

const dao::net::Peer kPeer;  // outlives the heads: X-Forwarded-For may be a view of its text

using namespace dao;
using http::FieldId;
using http::RequestHead;

void check_same(const RequestHead& a, const RequestHead& b) {
  fuzz::check(a.method == b.method && a.method_text == b.method_text, "same method");
  fuzz::check(a.target == b.target && a.path == b.path && a.authority == b.authority, "same target");
  fuzz::check(a.absolute_form == b.absolute_form && a.expect_continue == b.expect_continue, "same flags");
  fuzz::check(a.version_minor == b.version_minor && a.keep_alive == b.keep_alive, "same persistence");
  fuzz::check(a.framing == b.framing, "same framing");
  fuzz::check(fuzz::fields_text(a.fields) == fuzz::fields_text(b.fields), "same fields");
}

void check_forwarded(RequestHead& head) {
  const http::BodyFraming framing = head.framing;
  http::prepare_request(head, {}, kPeer, (head.target.size() & 1U) != 0, "http");
  head.version_minor = 1;
  for (const http::Field& field : head.fields) {
    fuzz::check(field.dropped || !http::is_hop_by_hop(field.id), "no hop-by-hop field is forwarded");
  }
  fuzz::check(head.find(FieldId::via) != nullptr, "Via is there");
  std::string text = fuzz::request_text(head, head.path);
  if (framing.kind == http::BodyFraming::Kind::chunked) text.insert(text.size() - 2, "Transfer-Encoding: chunked\r\n");
  if (head.find(FieldId::host) == nullptr) return;  // HTTP/1.0; the request path adds the backend's
  RequestHead again;
  const Result<http::h1::ParsedBytes> parsed = http::h1::parse_request_head(
      text, {.target_max_bytes = 1U << 20U, .head_max_bytes = 1U << 20U, .fields_max = 200}, again);
  fuzz::check(parsed.has_value() && *parsed == text.size(), "what is forwarded is a request");
  fuzz::check(again.framing == framing, "with the same framing");
  fuzz::check(again.method_text == head.method_text && again.path == head.path, "with the same target");
  fuzz::check(again.authority == head.authority, "for the same authority");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  RequestHead head;
  const Result<http::h1::ParsedBytes> parsed = http::h1::parse_request_head(input, {}, head);

  // Whatever prefix came first, the outcome is the same.
  const std::size_t at = size == 0 ? 0 : data[size / 2] * size / 256;
  RequestHead early;
  const Result<http::h1::ParsedBytes> first = http::h1::parse_request_head(input.substr(0, at), {}, early);
  if (!first) fuzz::check(!parsed, "a head refused early is refused as a whole");
  if (first && *first > 0) fuzz::check(parsed && *parsed == *first, "a head complete early is the whole");

  if (!parsed || *parsed == 0) return 0;
  fuzz::check(*parsed <= size, "within the input");
  const std::string text = fuzz::request_text(head, head.target);
  RequestHead again;
  const Result<http::h1::ParsedBytes> parsed_again =
      http::h1::parse_request_head(text, {.head_max_bytes = 1U << 20U}, again);
  fuzz::check(parsed_again && *parsed_again == text.size(), "what was accepted is accepted again");
  check_same(head, again);
  check_forwarded(again);
  return 0;
}
