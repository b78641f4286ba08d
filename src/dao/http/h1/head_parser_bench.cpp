// The cost of reading one head. Figures in docs/ come from dao_http_bench on the machine they name.
#include <benchmark/benchmark.h>

#include <string_view>

#include "dao/http/h1/head_parser.h"

namespace dao::http::h1 {
namespace {

constexpr std::string_view kLoadGenerator =
    "GET / HTTP/1.1\r\n"
    "Host: 127.0.0.1:8080\r\n"
    "User-Agent: wrk/4.1.0\r\n"
    "Accept: */*\r\n"
    "Connection: keep-alive\r\n"
    "\r\n";

constexpr std::string_view kBrowser =
    "GET /articles/2026/11/how-proxies-learn?utm_source=newsletter&page=2 HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.org/articles/\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; theme=dark; consent=1\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Cache-Control: max-age=0\r\n"
    "\r\n";

constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Server: nginx/1.28.0\r\n"
    "Date: Mon, 23 Nov 2026 04:00:00 GMT\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Length: 15234\r\n"
    "Last-Modified: Sun, 22 Nov 2026 21:14:03 GMT\r\n"
    "ETag: \"656a2c1b-3b82\"\r\n"
    "Cache-Control: public, max-age=300\r\n"
    "Vary: Accept-Encoding\r\n"
    "\r\n";

void request(benchmark::State& state, std::string_view text) {
  const HeadLimits limits;
  RequestHead head;
  for (auto _ : state) {
    head.clear();
    const Result<ParsedBytes> parsed = parse_request_head(text, limits, head);
    if (!parsed || *parsed != text.size()) state.SkipWithError("the sample was refused");
    benchmark::DoNotOptimize(head.fields.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(text.size()));
}

void response(benchmark::State& state, std::string_view text) {
  const HeadLimits limits;
  ResponseHead head;
  for (auto _ : state) {
    head.clear();
    const Result<ParsedBytes> parsed = parse_response_head(text, limits, Method::get, head);
    if (!parsed || *parsed != text.size()) state.SkipWithError("the sample was refused");
    benchmark::DoNotOptimize(head.fields.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(text.size()));
}

BENCHMARK_CAPTURE(request, load_generator_4_fields, kLoadGenerator);
BENCHMARK_CAPTURE(request, browser_12_fields, kBrowser);
BENCHMARK_CAPTURE(response, typical_8_fields, kResponse);

}  // namespace
}  // namespace dao::http::h1
