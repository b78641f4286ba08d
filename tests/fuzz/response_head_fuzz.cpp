// Any bytes as a response head, for the method that the first byte says. What was accepted, written back, must be read
// the same; what is forwarded must have the same framing.
#include "dao/http/forwarding.h"
#include "dao/http/h1/head_parser.h"
#include "oracle.h"

using namespace dao;
using http::ResponseHead;

namespace {

std::string response_text(const ResponseHead& head) {
  return "HTTP/1." + std::string(1, static_cast<char>('0' + head.version_minor)) + " " + std::to_string(head.status) +
         " " + std::string{head.reason} + "\r\n" + fuzz::fields_text(head.fields) + "\r\n";
}

constexpr http::HeadLimits kGenerous{.head_max_bytes = 1U << 20U, .fields_max = 200};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  if (size == 0) return 0;
  const http::Method method = (data[0] & 1U) != 0 ? http::Method::head : http::Method::get;
  const std::string_view input{reinterpret_cast<const char*>(data + 1), size - 1};
  ResponseHead head;
  const Result<http::h1::ParsedBytes> parsed = http::h1::parse_response_head(input, {}, method, head);

  const std::size_t at = data[size / 2] * input.size() / 256;
  ResponseHead early;
  const Result<http::h1::ParsedBytes> first = http::h1::parse_response_head(input.substr(0, at), {}, method, early);
  if (!first) fuzz::check(!parsed, "a head refused early is refused as a whole");
  if (first && *first > 0) fuzz::check(parsed && *parsed == *first, "a head complete early is the whole");

  if (!parsed || *parsed == 0) return 0;
  fuzz::check(*parsed <= input.size(), "within the input");
  const std::string text = response_text(head);
  ResponseHead again;
  const Result<http::h1::ParsedBytes> parsed_again = http::h1::parse_response_head(text, kGenerous, method, again);
  fuzz::check(parsed_again && *parsed_again == text.size(), "what was accepted is accepted again");
  fuzz::check(head.status == again.status && head.reason == again.reason, "same status");
  fuzz::check(head.keep_alive == again.keep_alive && head.version_minor == again.version_minor, "same persistence");
  fuzz::check(head.framing == again.framing, "same framing");
  fuzz::check(fuzz::fields_text(head.fields) == fuzz::fields_text(again.fields), "same fields");

  const http::BodyFraming framing = again.framing;
  http::prepare_response(again, {}, "Mon, 23 Nov 2026 04:00:00 GMT");
  again.version_minor = 1;
  for (const http::Field& field : again.fields) {
    fuzz::check(field.dropped || !http::is_hop_by_hop(field.id), "no hop-by-hop field is forwarded");
  }
  std::string forwarded = response_text(again);
  if (framing.kind == http::BodyFraming::Kind::chunked)
    forwarded.insert(forwarded.size() - 2, "Transfer-Encoding: chunked\r\n");
  ResponseHead passed_on;
  const Result<http::h1::ParsedBytes> parsed_last =
      http::h1::parse_response_head(forwarded, kGenerous, method, passed_on);
  fuzz::check(parsed_last && *parsed_last == forwarded.size(), "what is forwarded is a response");
  fuzz::check(passed_on.framing == framing, "with the same framing");
  return 0;
}
