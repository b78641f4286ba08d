// The operational log: what an operator reads on stderr. One line per event, in UTC:
//   2026-11-23T03:21:00.123Z info listening address=127.0.0.1:8080 note="two words"
//
// A call formats the line and puts it into a bounded queue (kQueueLines); one thread of its own writes the lines. No
// caller ever waits for the terminal, pipe or file behind stderr: when the queue is full the oldest line is thrown away
// and counted (dropped()). A call may allocate and takes a short mutex, so it is for events, not for every request; the
// access log (telemetry) is for those. Any thread may call anything here. The thread starts with the first line, which
// must not be before a fork() whose child logs.
//
// A value is written bare if it is made of printable ASCII without space, '"', '=' and '\', otherwise in double quotes
// with \" \\ \n \r \t and \xHH for every other control byte and for what is not valid UTF-8. So a line is always one
// line, whatever a peer sent. A message or value longer than kValueMaxBytes is cut and ends in "...".
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <type_traits>

namespace dao::log {

enum class Level : std::uint8_t { debug, info, warning, error };

inline constexpr std::size_t kQueueLines = 1024;
inline constexpr std::size_t kValueMaxBytes = 1024;

std::string_view name_of(Level level);
// "debug", "info", "warning" or "error"; nothing for any other text.
std::optional<Level> parse_level(std::string_view text);

// What stands right of '='. Text is not copied: it must live until the call returns.
class Value {
 public:
  enum class Kind : std::uint8_t { text, integer, natural, real, boolean };

  Value(std::string_view text) : kind_(Kind::text), text_(text) {}              // NOLINT(google-explicit-constructor)
  Value(const char* text) : Value(std::string_view{text}) {}                    // NOLINT(google-explicit-constructor)
  Value(std::floating_point auto number) : kind_(Kind::real), real_(number) {}  // NOLINT(google-explicit-constructor)
  template <std::integral T>
  Value(T number) {  // NOLINT(google-explicit-constructor)
    if constexpr (std::same_as<T, bool>) {
      kind_ = Kind::boolean;
      natural_ = number ? 1 : 0;
    } else if constexpr (std::signed_integral<T>) {
      kind_ = Kind::integer;
      integer_ = number;
    } else {
      kind_ = Kind::natural;
      natural_ = number;
    }
  }
  template <class T>
    requires std::convertible_to<const T&, std::string_view> && (!std::same_as<T, std::string_view>) &&
             (!std::is_pointer_v<T>) && (!std::is_array_v<T>)
  Value(const T& text) : Value(std::string_view{text}) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] std::string_view text() const { return text_; }
  [[nodiscard]] std::int64_t integer() const { return integer_; }
  [[nodiscard]] std::uint64_t natural() const { return natural_; }
  [[nodiscard]] double real() const { return real_; }

 private:
  Kind kind_;
  union {
    std::string_view text_;
    std::int64_t integer_;
    std::uint64_t natural_;
    double real_;
  };
};

struct Field {
  std::string_view key;  // [a-z0-9_]+, written as it is
  Value value;
};
using Fields = std::initializer_list<Field>;

// Lets a call site speak at most `per_second` times a second. Make it static beside the call:
//   static log::RateLimit limit{1};
//   log::warning(limit, "cannot write the access log", {{"error", text}});
// The first line after a time of silence is preceded by one that says how many were held back:
//   ... warning cannot write the access log suppressed=311
class RateLimit {
 public:
  explicit constexpr RateLimit(std::uint32_t per_second) : per_second_(per_second) {}

  struct Verdict {
    bool allowed = false;
    std::uint64_t suppressed = 0;  // held back since the last allowed line, to be told now
  };
  // Any thread; two that race at the turn of a second may let one line more through.
  Verdict ask(std::chrono::steady_clock::time_point now);

 private:
  std::uint32_t per_second_;
  std::atomic<std::int64_t> second_{-1};
  std::atomic<std::uint32_t> used_{0};
  std::atomic<std::uint64_t> suppressed_{0};
};

void write(Level level, std::string_view message, Fields fields = {});
void write(RateLimit& limit, Level level, std::string_view message, Fields fields = {});

inline void debug(std::string_view message, Fields fields = {}) {
  write(Level::debug, message, fields);
}
inline void info(std::string_view message, Fields fields = {}) {
  write(Level::info, message, fields);
}
inline void warning(std::string_view message, Fields fields = {}) {
  write(Level::warning, message, fields);
}
inline void error(std::string_view message, Fields fields = {}) {
  write(Level::error, message, fields);
}

inline void debug(RateLimit& limit, std::string_view message, Fields fields = {}) {
  write(limit, Level::debug, message, fields);
}
inline void info(RateLimit& limit, std::string_view message, Fields fields = {}) {
  write(limit, Level::info, message, fields);
}
inline void warning(RateLimit& limit, std::string_view message, Fields fields = {}) {
  write(limit, Level::warning, message, fields);
}
inline void error(RateLimit& limit, std::string_view message, Fields fields = {}) {
  write(limit, Level::error, message, fields);
}

// Lines below `level` are not made at all. Default: info.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);

// Waits until every line written so far by this thread has left for stderr or was dropped; false if that took longer
// than `patience`. Not for a worker while it serves. Called once at exit with a second of patience.
bool flush(std::chrono::milliseconds patience = std::chrono::seconds{1});

// Lines lost since start: pushed out of the full queue, or refused by stderr.
[[nodiscard]] std::uint64_t dropped();

// Writes to `fd` (borrowed) from the next line on, for tests. Default 2.
void redirect(int fd);

}  // namespace dao::log
