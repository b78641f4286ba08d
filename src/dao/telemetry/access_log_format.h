// How a RequestRecord becomes a line.
//
// json: one object per line. Text is escaped as RFC 8259 asks; bytes that are not valid UTF-8 are read as Latin-1 and
// written \u00XX, so that every line is valid JSON and nothing a peer sent is lost.
// combined: Apache's and nginx's combined format. '"', '\', control bytes and bytes above 0x7e are written \xHH (as
// nginx does), so that a peer can neither end a field nor start a line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dao/telemetry/request_record.h"

namespace dao::telemetry {

enum class AccessLogFormat : std::uint8_t { json, combined };

// "json" or "combined"; nothing for any other text.
std::optional<AccessLogFormat> parse_access_log_format(std::string_view text);

// Writes lines of one format. Remembers the text of the last second, so keep one per thread. Never allocates.
class AccessLogFormatter {
 public:
  explicit AccessLogFormatter(AccessLogFormat format) : format_(format) {}

  // No line of this record is longer.
  [[nodiscard]] static std::size_t max_size(const RequestRecord& record);

  // Writes the line with its newline to `out`, which has max_size() bytes, and returns its end.
  char* format(const RequestRecord& record, char* out);

 private:
  char* json(const RequestRecord& record, std::uint64_t millisecond, char* out);
  char* combined(const RequestRecord& record, char* out);
  void set_second(std::int64_t second);

  AccessLogFormat format_;
  std::int64_t second_ = INT64_MIN;  // since 1970, the one in second_text_
  char second_text_[32] = {};        // "2026-11-23T03:21:00" or "23/Nov/2026:03:21:00 +0000"
  std::size_t second_size_ = 0;
};

// docs/access-log.md
std::string render_access_log_reference();

}  // namespace dao::telemetry
