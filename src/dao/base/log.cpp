#include "dao/base/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <cerrno>
#include <concepts>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "dao/base/signals_blocked.h"
#include "dao/base/utf8.h"

namespace dao::log {
namespace {

using Buffer = fmt::memory_buffer;

std::atomic<Level> threshold{Level::info};
std::atomic<int> target_fd{STDERR_FILENO};

// Writes whole lines to the file descriptor, in the log's own thread. Only the notification of flush() is shared.
class FdSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  [[nodiscard]] std::uint64_t handled() const { return handled_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

  // Waits until `done` or the deadline.
  template <class Done>
  bool wait_until(std::chrono::steady_clock::time_point deadline, Done done) {
    std::unique_lock lock(mutex_);
    return progress_.wait_until(lock, deadline, done);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (!write_all({line.data(), line.size()})) refused_.fetch_add(1, std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      handled_.fetch_add(1, std::memory_order_release);
    }
    progress_.notify_all();
  }
  void flush_() override {}

  static bool write_all(std::string_view text) {
    const int fd = target_fd.load(std::memory_order_acquire);
    while (!text.empty()) {
      const ssize_t written = ::write(fd, text.data(), text.size());
      if (written > 0) {
        text.remove_prefix(static_cast<std::size_t>(written));
      } else if (written < 0 && errno == EAGAIN) {
        pollfd wanted{.fd = fd, .events = POLLOUT, .revents = 0};
        ::poll(&wanted, 1, -1);
      } else if (written == 0 || errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  std::atomic<std::uint64_t> handled_{0};
  std::atomic<std::uint64_t> refused_{0};
  std::mutex mutex_;
  std::condition_variable progress_;
};

class Journal {
 public:
  Journal() : sink_(std::make_shared<FdSink>()) {
    sink_->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                                                     spdlog::pattern_time_type::utc, "\n"));
    const SignalsBlocked quiet;
    pool_ = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
    logger_ =
        std::make_shared<spdlog::async_logger>("dao", sink_, pool_, spdlog::async_overflow_policy::overrun_oldest);
    logger_->set_level(spdlog::level::trace);
  }
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // At exit the queue is written out; if stderr takes nothing the thread is left to die with the process, because
  // joining it could wait for ever.
  ~Journal() {
    if (!flush(std::chrono::seconds{1})) {
      new std::shared_ptr(pool_);
      new std::shared_ptr(logger_);
    }
  }

  void submit(spdlog::level::level_enum level, const Buffer& line) {
    submitted_.fetch_add(1, std::memory_order_relaxed);
    logger_->log(level, spdlog::string_view_t{line.data(), line.size()});
  }

  bool flush(std::chrono::milliseconds patience) {
    const std::uint64_t goal = submitted_.load(std::memory_order_relaxed);
    return sink_->wait_until(std::chrono::steady_clock::now() + patience,
                             [&] { return sink_->handled() + pool_->overrun_counter() >= goal; });
  }

  [[nodiscard]] std::uint64_t dropped() { return sink_->refused() + pool_->overrun_counter(); }

 private:
  std::shared_ptr<FdSink> sink_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
  std::atomic<std::uint64_t> submitted_{0};
};

Journal& journal() {
  static Journal instance;
  return instance;
}

spdlog::level::level_enum spdlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

bool is_bare(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') return false;
  }
  return !text.empty();
}

// Control characters in UTF-8 beyond ASCII: U+0080..U+009F, which some terminals obey.
bool is_c1_control(std::string_view sequence) {
  return sequence.size() == 2 && sequence[0] == '\xc2' && static_cast<unsigned char>(sequence[1]) < 0xa0;
}

void append_escaped(Buffer& out, std::string_view text) {
  const bool cut = text.size() > kValueMaxBytes;
  text = text.substr(0, kValueMaxBytes);
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text[0]);
    std::size_t length = utf8_sequence(text);
    if (length > 1 && is_c1_control(text.substr(0, length))) length = 0;
    if (byte == '"' || byte == '\\') {
      out.push_back('\\');
      out.push_back(text[0]);
    } else if (byte == '\n') {
      out.append(std::string_view{"\\n"});
    } else if (byte == '\r') {
      out.append(std::string_view{"\\r"});
    } else if (byte == '\t') {
      out.append(std::string_view{"\\t"});
    } else if (byte < 0x20 || byte == 0x7f || length == 0) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      out.append(std::string_view{"\\x"});
      out.push_back(kDigits[byte >> 4U]);
      out.push_back(kDigits[byte & 0xfU]);
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  if (cut) out.append(std::string_view{"..."});
}

void append_number(Buffer& out, std::integral auto number) {
  const fmt::format_int digits(number);
  out.append(std::string_view{digits.data(), digits.size()});
}

void append_value(Buffer& out, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::integer:
      append_number(out, value.integer());
      return;
    case Value::Kind::natural:
      append_number(out, value.natural());
      return;
    case Value::Kind::real:
      out.append(fmt::format("{}", value.real()));
      return;
    case Value::Kind::boolean:
      out.append(value.natural() != 0 ? std::string_view{"true"} : std::string_view{"false"});
      return;
    case Value::Kind::text:
      break;
  }
  if (value.text().size() <= kValueMaxBytes && is_bare(value.text())) {
    out.append(value.text());
    return;
  }
  out.push_back('"');
  append_escaped(out, value.text());
  out.push_back('"');
}

}  // namespace

std::string_view name_of(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "unknown";
}

std::optional<Level> parse_level(std::string_view text) {
  for (const Level level : {Level::debug, Level::info, Level::warning, Level::error}) {
    if (text == name_of(level)) return level;
  }
  return std::nullopt;
}

RateLimit::Verdict RateLimit::ask(std::chrono::steady_clock::time_point now) {
  const std::int64_t second = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  if (second_.exchange(second, std::memory_order_relaxed) != second) used_.store(0, std::memory_order_relaxed);
  if (used_.fetch_add(1, std::memory_order_relaxed) >= per_second_) {
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  return {.allowed = true, .suppressed = suppressed_.exchange(0, std::memory_order_relaxed)};
}

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  Buffer line;
  append_escaped(line, message);
  for (const Field& field : fields) {
    line.push_back(' ');
    line.append(field.key);
    line.push_back('=');
    append_value(line, field.value);
  }
  journal().submit(spdlog_level(level), line);
}

void write(RateLimit& limit, Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  const RateLimit::Verdict verdict = limit.ask(std::chrono::steady_clock::now());
  if (!verdict.allowed) return;
  if (verdict.suppressed > 0) write(level, message, {{"suppressed", verdict.suppressed}});
  write(level, message, fields);
}

void set_level(Level level) {
  threshold.store(level, std::memory_order_relaxed);
}

bool enabled(Level level) {
  return level >= threshold.load(std::memory_order_relaxed);
}

bool flush(std::chrono::milliseconds patience) {
  return journal().flush(patience);
}

std::uint64_t dropped() {
  return journal().dropped();
}

void redirect(int fd) {
  target_fd.store(fd, std::memory_order_release);
}

}  // namespace dao::log
