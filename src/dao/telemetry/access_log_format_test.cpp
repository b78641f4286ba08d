#include "dao/telemetry/access_log_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dao/base/random.h"
#include "dao/base/utf8.h"

namespace dao::telemetry {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;

constexpr WallTime at(std::int64_t seconds, std::int64_t nanoseconds = 0) {
  return WallTime{std::chrono::seconds{seconds} + std::chrono::nanoseconds{nanoseconds}};
}
constexpr std::int64_t kMoment = 1795404060;  // 2026-11-23T03:21:00Z

std::string line_of(AccessLogFormatter& formatter, const RequestRecord& record) {
  std::string line(AccessLogFormatter::max_size(record), '\0');
  const char* end = formatter.format(record, line.data());
  line.resize(static_cast<std::size_t>(end - line.data()));
  return line;
}
std::string json_line(const RequestRecord& record) {
  AccessLogFormatter formatter{AccessLogFormat::json};
  return line_of(formatter, record);
}
std::string combined_line(const RequestRecord& record) {
  AccessLogFormatter formatter{AccessLogFormat::combined};
  return line_of(formatter, record);
}

RequestRecord full_record() {
  return {.start = at(kMoment, 123'999'999),
          .duration_ns = 12'345'678,
          .client_address = "192.0.2.1",
          .client_port = 41234,
          .method = "POST",
          .target = "/items?q=1",
          .host = "example.com",
          .protocol = "HTTP/1.1",
          .status = 502,
          .grpc_status = "UNAVAILABLE",
          .request_bytes = 10,
          .response_bytes = 2000,
          .route = "items",
          .upstream = "a",
          .upstream_address = "10.0.0.1:8080",
          .connect_ns = 150'000,
          .head_ns = 9'000'000'000,
          .queue_ns = 1'500'000,
          .attempts = 2,
          .generation = 7,
          .reused = true,
          .error = "connection_terminated",
          .error_detail = "closed before the response head",
          .referer = "http://example.com/",
          .user_agent = "curl/8.0",
          .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"};
}

TEST(AccessLogJsonTest, EveryField) {
  EXPECT_EQ(
      json_line(full_record()),
      R"({"time":"2026-11-23T03:21:00.123Z","client":"192.0.2.1","client_port":41234,"method":"POST",)"
      R"("host":"example.com","target":"/items?q=1","protocol":"HTTP/1.1","status":502,)"
      R"("grpc_status":"UNAVAILABLE","request_bytes":10,"response_bytes":2000,)"
      R"("duration_ms":12.345,"route":"items","generation":7,"upstream":"a",)"
      R"("upstream_address":"10.0.0.1:8080","attempts":2,"queue_ms":1.500,"connect_ms":0.150,"head_ms":9000.000,"reused":true,)"
      R"("error":"connection_terminated","error_detail":"closed before the response head",)"
      R"("referer":"http://example.com/","user_agent":"curl/8.0",)"
      R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"})"
      "\n");
}

TEST(AccessLogJsonTest, WhatDoesNotApplyIsLeftOut) {
  EXPECT_EQ(json_line({.start = at(kMoment)}),
            R"({"time":"2026-11-23T03:21:00.000Z","status":0,"request_bytes":0,"response_bytes":0,)"
            R"("duration_ms":0.000,"generation":0,"attempts":0,"reused":false})"
            "\n");
}

TEST(AccessLogJsonTest, TheReferencePageListsExactlyTheFields) {
  std::vector<std::string> documented;
  const std::string page = render_access_log_reference();
  for (std::size_t at_row = page.find("\n| `"); at_row != std::string::npos; at_row = page.find("\n| `", at_row + 1)) {
    const std::size_t name = at_row + 4;
    documented.push_back(page.substr(name, page.find('`', name) - name));
  }
  std::vector<std::string> written;
  for (const auto& [name, value] : Json::parse(json_line(full_record())).items()) written.push_back(name);
  EXPECT_EQ(written, documented);
}

TEST(AccessLogJsonTest, Escaping) {
  const auto target = [](std::string_view text) {
    return Json::parse(json_line({.start = at(kMoment), .target = text}))["target"].get<std::string>();
  };
  const auto raw = [](std::string_view text) {
    const std::string line = json_line({.start = at(kMoment), .target = text});
    const std::size_t from = line.find("\"target\":\"") + 10;
    return line.substr(from, line.find("\",\"status\"") - from);
  };
  EXPECT_EQ(raw("a\"b\\c"), R"(a\"b\\c)");
  EXPECT_EQ(raw("\n\r\t"), R"(\n\r\t)");
  EXPECT_EQ(raw(std::string_view{"\0\x01\x1f\x7f", 4}), R"(\u0000\u0001\u001f\u007f)");
  EXPECT_EQ(raw("größe €😀"), "größe €😀");
  EXPECT_EQ(raw("\xe9t\xe9"), R"(\u00e9t\u00e9)");          // Latin-1
  EXPECT_EQ(raw("\xc0\xaf"), R"(\u00c0\u00af)");            // overlong
  EXPECT_EQ(raw("\xed\xa0\x80"), R"(\u00ed\u00a0\u0080)");  // surrogate
  EXPECT_EQ(raw("abc\xe2\x82"), R"(abc\u00e2\u0082)");      // cut short
  EXPECT_EQ(target("x\"}\n{\"forged\":1}"), "x\"}\n{\"forged\":1}");
}

// What the documented rule makes of any bytes: valid UTF-8 stays, other bytes are read as Latin-1.
std::string as_logged(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length > 0) {
      result += text.substr(0, length);
    } else {
      const auto byte = static_cast<unsigned char>(text[0]);
      result += static_cast<char>(0xc0U | (byte >> 6U));
      result += static_cast<char>(0x80U | (byte & 0x3fU));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

// Random bytes, with those that matter to escaping more often than chance has them.
std::string random_text(Random& random) {
  static constexpr std::string_view kAwkward = "\"\\\n\r\t\x7f\x1f \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff";
  std::string text(random.below(40), '\0');
  for (char& c : text) {
    switch (random.below(4)) {
      case 0:
        c = kAwkward[random.below(kAwkward.size())];
        break;
      case 1:
        c = static_cast<char>(random.below(256));
        break;
      default:
        c = static_cast<char>('a' + random.below(26));
    }
  }
  return text;
}

TEST(AccessLogJsonTest, AnyBytesGiveOneValidLineThatReadsBack) {
  Random random{7};
  AccessLogFormatter formatter{AccessLogFormat::json};
  for (int i = 0; i < 20'000; ++i) {
    const std::string target = random_text(random);
    const std::string agent = random_text(random);
    const std::string line =
        line_of(formatter, {.start = at(kMoment + i), .target = target, .status = 200, .user_agent = agent});
    ASSERT_EQ(line.find('\n'), line.size() - 1) << line;
    const Json json = Json::parse(line, nullptr, false);
    ASSERT_FALSE(json.is_discarded()) << line;
    ASSERT_EQ(json.value("target", ""), as_logged(target));
    ASSERT_EQ(json.value("user_agent", ""), as_logged(agent));
  }
}

TEST(AccessLogFormatTest, NoLineIsLongerThanItsBound) {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  const std::string worst(1000, '\x01');
  const RequestRecord record{.start = WallTime::max(),
                             .duration_ns = kMost - 1,
                             .client_address = worst,
                             .client_port = 65535,
                             .method = worst,
                             .target = worst,
                             .host = worst,
                             .protocol = worst,
                             .status = 999,
                             .grpc_status = worst,
                             .request_bytes = kMost,
                             .response_bytes = kMost,
                             .route = worst,
                             .upstream = worst,
                             .upstream_address = worst,
                             .connect_ns = kMost - 1,
                             .head_ns = kMost - 1,
                             .attempts = std::numeric_limits<std::uint32_t>::max(),
                             .error = worst,
                             .error_detail = worst,
                             .referer = worst,
                             .user_agent = worst,
                             .trace_id = worst};
  for (const AccessLogFormat format : {AccessLogFormat::json, AccessLogFormat::combined}) {
    AccessLogFormatter formatter{format};
    EXPECT_LE(line_of(formatter, record).size(), AccessLogFormatter::max_size(record));
    const RequestRecord empty{.start = at(-9'000'000'000)};
    EXPECT_LE(line_of(formatter, empty).size(), AccessLogFormatter::max_size(empty));
  }
}

TEST(AccessLogFormatTest, TheSecondFollowsTheRecordsInAnyOrder) {
  AccessLogFormatter formatter{AccessLogFormat::json};
  const auto time = [&](WallTime start) {
    return Json::parse(line_of(formatter, {.start = start}))["time"].get<std::string>();
  };
  EXPECT_EQ(time(at(kMoment)), "2026-11-23T03:21:00.000Z");
  EXPECT_EQ(time(at(kMoment, 999'000'000)), "2026-11-23T03:21:00.999Z");
  EXPECT_EQ(time(at(kMoment + 1)), "2026-11-23T03:21:01.000Z");
  EXPECT_EQ(time(at(kMoment)), "2026-11-23T03:21:00.000Z");
  EXPECT_EQ(time(at(951782399)), "2000-02-28T23:59:59.000Z");
  EXPECT_EQ(time(at(951782400)), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(time(at(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(time(at(-1, 5'000'000)), "1969-12-31T23:59:59.005Z");
}

TEST(AccessLogCombinedTest, EveryField) {
  EXPECT_EQ(combined_line(full_record()),
            "192.0.2.1 - - [23/Nov/2026:03:21:00 +0000] \"POST /items?q=1 HTTP/1.1\" 502 2000 "
            "\"http://example.com/\" \"curl/8.0\"\n");
}

TEST(AccessLogCombinedTest, WhatIsNotKnownIsADash) {
  EXPECT_EQ(combined_line({.start = at(kMoment)}), "- - - [23/Nov/2026:03:21:00 +0000] \"-\" 000 0 \"-\" \"-\"\n");
}

TEST(AccessLogCombinedTest, NothingEndsAFieldOrALine) {
  const RequestRecord record{.start = at(kMoment),
                             .client_address = "::1",
                             .method = "GET",
                             .target = "/a\"b\\c",
                             .protocol = "HTTP/1.1",
                             .status = 200,
                             .referer = "\r\n127.0.0.1 - -",
                             .user_agent = "gr\xc3\xb6\xff\x1b[0m"};
  EXPECT_EQ(combined_line(record),
            "::1 - - [23/Nov/2026:03:21:00 +0000] \"GET /a\\x22b\\x5Cc HTTP/1.1\" 200 0 "
            "\"\\x0D\\x0A127.0.0.1 - -\" \"gr\\xC3\\xB6\\xFF\\x1B[0m\"\n");
}

TEST(AccessLogCombinedTest, AnyBytesGiveOneLineOfSevenQuotedParts) {
  Random random{8};
  AccessLogFormatter formatter{AccessLogFormat::combined};
  for (int i = 0; i < 20'000; ++i) {
    const std::string target = random_text(random);
    const std::string referer = random_text(random);
    const std::string line = line_of(formatter, {.start = at(kMoment),
                                                 .client_address = "::1",
                                                 .method = "GET",
                                                 .target = target,
                                                 .protocol = "HTTP/1.1",
                                                 .status = 200,
                                                 .referer = referer});
    ASSERT_EQ(line.find('\n'), line.size() - 1) << line;
    ASSERT_EQ(std::ranges::count(line, '"'), 6) << line;
    for (const char c : line) ASSERT_TRUE((c >= ' ' && c < 0x7f) || c == '\n') << line;
  }
}

TEST(AccessLogFormatTest, FormatsParse) {
  EXPECT_EQ(parse_access_log_format("json"), AccessLogFormat::json);
  EXPECT_EQ(parse_access_log_format("combined"), AccessLogFormat::combined);
  EXPECT_EQ(parse_access_log_format("JSON"), std::nullopt);
}

}  // namespace
}  // namespace dao::telemetry
