// The load generator of `make bench` and `make soak`: HTTP/1.1 over epoll, one thread, see kUsage. After a warm-up it
// measures for a fixed time; the CPU time of the watched processes is read at both ends of exactly that window.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <deque>
#include <functional>
#include <iterator>
#include <map>

#include "arrivals.h"
#include "histogram.h"
#include "load_options.h"
#include "message_reader.h"
#include "process_cpu.h"
#include "sockets.h"
#include "timeline.h"

namespace dao::bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStalledAfter = 2 * kSecond;  // a request this old at the end of the run is an error
constexpr std::int64_t kIdleDeadline = 60 * kSecond;
constexpr std::size_t kIdleAtOnce = 64;  // idle mode: connections being opened at a time
constexpr unsigned kSources = 8;         // loopback source addresses, so that ports do not run short

std::int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

struct Connection {
  int fd = -1;
  bool busy = false;  // a request is on its way
  bool wants_writable = false;
  bool awaits_close = false;  // the answer is complete, the other side closes next
  std::size_t sent = 0;
  std::int64_t started = 0;  // open mode: when the request was to be sent
  const std::string* request = nullptr;
  MessageReader reader{MessageReader::Kind::kResponse};
};

class Load {
 public:
  explicit Load(Options options)
      : options_(std::move(options)), connections_(options_.connections), timeline_(options_.timeline) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    for (const auto& target : options_.targets) {
      const bool post = options_.post_bytes > 0;
      auto text = fmt::format("{} {} HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: dao_load\r\nAccept: */*\r\n",
                              post ? "POST" : "GET", target);
      if (post)
        text += fmt::format("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", options_.post_bytes);
      if (options_.close) text += "Connection: close\r\n";
      text += "\r\n";
      text.append(options_.post_bytes, 'p');
      requests_.push_back(std::move(text));
    }
  }

  int run() {
    start_ = now_ns();
    window_start_ = start_ + static_cast<std::int64_t>(options_.warmup_seconds * 1e9);
    window_end_ = window_start_ + static_cast<std::int64_t>(options_.seconds * 1e9);
    switch (options_.mode) {
      case Mode::kClosed:
        run_closed();
        break;
      case Mode::kOpen:
      case Mode::kPoisson:
        run_open();
        break;
      case Mode::kIdle:
        run_idle();
        break;
    }
    count_unfinished();
    print_result();
    if (options_.mode == Mode::kIdle) hold_idle();
    return 0;
  }

 private:
  void run_closed() {
    for (auto& connection : connections_) begin(connection, now_ns());
    for (auto now = start_; now < window_end_; now = now_ns()) {
      mark_window(now);
      poll(std::min<std::int64_t>(window_end_ - now, kSecond / 100));
    }
    mark_window(now_ns());
  }

  void run_open() {
    prctl(PR_SET_TIMERSLACK, 1UL);
    for (auto& connection : connections_) free_.push_back(&connection);
    Arrivals arrivals(options_.rate, options_.mode == Mode::kPoisson, options_.seed);
    const std::int64_t give_up = window_end_ + static_cast<std::int64_t>(options_.drain_seconds * 1e9);
    std::int64_t due = start_ + arrivals.next();
    for (auto now = now_ns(); now < give_up; now = now_ns()) {
      mark_window(now);
      for (; due <= now && due < window_end_; due = start_ + arrivals.next()) {
        if (free_.empty()) {
          backlog_.push_back(due);
        } else {
          auto& connection = *free_.front();
          free_.pop_front();
          begin(connection, due);
        }
      }
      if (now >= window_end_ && backlog_.empty() && free_.size() == connections_.size()) break;
      poll(due < window_end_ ? due - now : kSecond / 1000);
    }
    mark_window(now_ns());
  }

  void run_idle() {
    for (; next_idle_ < std::min(kIdleAtOnce, connections_.size()); ++next_idle_)
      begin(connections_[next_idle_], now_ns());
    while (total_ + errors_ < connections_.size() && now_ns() - start_ < kIdleDeadline) poll(kSecond / 100);
    window_start_taken_ = start_;
    window_end_taken_ = now_ns();
  }

  void hold_idle() {
    char input = 0;
    while (read(STDIN_FILENO, &input, 1) > 0) {
    }
    std::size_t lost = 0;
    for (const auto& connection : connections_) {
      const auto got = connection.fd < 0 ? 0 : recv(connection.fd, &input, 1, MSG_PEEK | MSG_DONTWAIT);
      if (got >= 0 || errno != EAGAIN) ++lost;
    }
    fmt::print("{{\"lost\":{}}}\n", lost);
  }

  // Requests are counted between two instants at which the CPU time was read; both are noted when it is.
  void mark_window(std::int64_t now) {
    if (window_start_taken_ == 0 && now >= window_start_) {
      cpu_before_ = cpu_time_ns(options_.watched);
      window_start_taken_ = now;
    }
    if (window_end_taken_ == 0 && now >= window_end_) {
      cpu_after_ = cpu_time_ns(options_.watched);
      window_end_taken_ = now;
    }
  }

  void poll(std::int64_t timeout_ns) {
    const timespec timeout{.tv_sec = timeout_ns / kSecond, .tv_nsec = timeout_ns % kSecond};
    const int count = epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const auto& event = events_.at(static_cast<std::size_t>(i));
      auto& connection = *static_cast<Connection*>(event.data.ptr);
      if (connection.fd < 0) continue;
      if (connection.wants_writable && (event.events & EPOLLOUT) != 0U) write(connection);
      if (connection.fd >= 0 && (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0U) read_some(connection);
    }
    // From here and not from where it broke: a peer that refuses every connection must not nest calls without end.
    restarting_.swap(broken_);
    for (auto* connection : restarting_) proceed(*connection);
    restarting_.clear();
  }

  void watch(int operation, Connection& connection, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &connection;
    epoll_ctl(epoll_, operation, connection.fd, &event);
  }

  void begin(Connection& connection, std::int64_t started) {
    connection.started = started;
    connection.busy = true;
    connection.awaits_close = false;
    connection.sent = 0;
    connection.reader.reset();
    connection.request = &requests_[next_request_++ % requests_.size()];
    if (connection.fd < 0) open(connection);
    write(connection);
  }

  void open(Connection& connection) {
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection.fd < 0) fail("socket: {}", std::strerror(errno));
    set_option(connection.fd, IPPROTO_TCP, TCP_NODELAY, 1);
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + opened_++ % kSources);
    set_option(connection.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(connection.fd, generic(source), sizeof(source)) != 0 ||
        (connect(connection.fd, generic(options_.to), sizeof(options_.to)) != 0 && errno != EINPROGRESS)) {
      fail("cannot connect: {}", std::strerror(errno));
    }
    connection.wants_writable = false;
    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
  }

  void write(Connection& connection) {
    const auto left = connection.request->size() - connection.sent;
    const auto sent =
        left == 0 ? 0 : send(connection.fd, connection.request->data() + connection.sent, left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      // The other side may have answered (and closed) before it read everything: look for that answer first.
      if (errno != EPIPE && errno != ECONNRESET) return broken(connection, std::strerror(errno));
      connection.sent = connection.request->size();
    } else if (sent > 0) {
      connection.sent += static_cast<std::size_t>(sent);
    }
    const bool blocked = connection.sent < connection.request->size();
    if (blocked != connection.wants_writable) {
      connection.wants_writable = blocked;
      watch(EPOLL_CTL_MOD, connection, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
  }

  void read_some(Connection& connection) {
    auto& reader = connection.reader;
    const auto known = reader.known_remaining();
    // What is certainly body is dropped inside the kernel: no copy.
    const auto got = known > 0 ? recv(connection.fd, buffer_.data(), known, MSG_TRUNC)
                               : recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got < 0) {
      if (errno == EAGAIN) return;
      return connection.awaits_close || !connection.busy ? closed(connection)
                                                         : broken(connection, std::strerror(errno));
    }
    if (connection.awaits_close || !connection.busy) {
      return got == 0 ? closed(connection) : broken(connection, "bytes after the answer");
    }
    if (got == 0) {
      if (reader.fresh()) return broken(connection, "closed before the answer");
      reader.end_of_stream();
    } else if (known > 0) {
      reader.skipped(static_cast<std::uint64_t>(got));
    } else {
      const auto size = static_cast<std::size_t>(got);
      const auto used = reader.feed({buffer_.data(), size});
      if (used < size && !reader.bad()) return broken(connection, "bytes after the answer");
    }
    if (reader.bad()) return broken(connection, "malformed or cut answer");
    if (reader.done()) complete(connection);
  }

  void complete(Connection& connection) {
    const auto now = now_ns();
    ++total_;
    timeline_.record(connection.started, now - connection.started, connection.reader.status());
    if (in_window(connection, now)) {
      latency_.record(static_cast<std::uint64_t>(now - connection.started));
      ++requests_measured_;
    }
    const int status = connection.reader.status();
    ++statuses_[static_cast<std::size_t>(status) % statuses_.size()];
    connection.busy = false;
    if (options_.close || connection.reader.close()) {
      connection.awaits_close = true;
      if (!options_.close) ++closed_by_peer_;
    } else {
      proceed(connection);
    }
  }

  // Closed mode counts what is completed inside the window, open mode what was to be sent inside it.
  [[nodiscard]] bool in_window(const Connection& connection, std::int64_t now) const {
    if (is_open(options_.mode)) return connection.started >= window_start_ && connection.started < window_end_;
    return options_.mode == Mode::kIdle || (window_start_taken_ != 0 && window_end_taken_ == 0 && now < window_end_);
  }

  // The connection is free (or gone, which the next request repairs).
  void proceed(Connection& connection) {
    const auto now = now_ns();
    switch (options_.mode) {
      case Mode::kClosed:
        if (now < window_end_) begin(connection, now);
        break;
      case Mode::kOpen:
      case Mode::kPoisson:
        if (backlog_.empty()) {
          free_.push_back(&connection);
        } else {
          const auto due = backlog_.front();
          backlog_.pop_front();
          begin(connection, due);
        }
        break;
      case Mode::kIdle:
        if (next_idle_ < connections_.size()) begin(connections_[next_idle_++], now);
        break;
    }
  }

  void shut(Connection& connection) {
    ::close(connection.fd);
    connection.fd = -1;
    connection.busy = false;
  }

  void closed(Connection& connection) {
    const bool was_awaited = connection.awaits_close;
    shut(connection);
    connection.awaits_close = false;
    if (was_awaited) return proceed(connection);
    ++closed_by_peer_;
  }

  void broken(Connection& connection, std::string_view why) {
    ++errors_;
    if (connection.busy) timeline_.record(connection.started, now_ns() - connection.started, Timeline::kBroken);
    const auto found = reasons_.find(why);
    ++(found == reasons_.end() ? reasons_[std::string(why)] : found->second);
    shut(connection);
    connection.awaits_close = false;
    broken_.push_back(&connection);
  }

  void count_unfinished() {
    const auto now = now_ns();
    unfinished_ = backlog_.size();
    for (const std::int64_t due : backlog_) timeline_.record(due, now - due, Timeline::kUnanswered);
    for (const auto& connection : connections_) {
      if (connection.busy && (options_.mode != Mode::kClosed || now - connection.started > kStalledAfter)) {
        ++unfinished_;
        timeline_.record(connection.started, now - connection.started, Timeline::kUnanswered);
      }
    }
    timeline_.write();
  }

  void print_result() const {
    std::string statuses;
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      if (statuses_[i] > 0) statuses += fmt::format("{}\"{}\":{}", statuses.empty() ? "" : ",", i, statuses_[i]);
    }
    std::string reasons;
    for (const auto& [why, count] : reasons_) {
      reasons += fmt::format("{}\"{}\":{}", reasons.empty() ? "" : ",", why, count);
    }
    fmt::print(
        "{{\"requests\":{},\"seconds\":{:.6f},\"cpu_ns\":{},\"total\":{},\"errors\":{},\"unfinished\":{},"
        "\"closed_by_peer\":{},\"opened\":{},\"statuses\":{{{}}},\"reasons\":{{{}}},",
        requests_measured_, static_cast<double>(window_end_taken_ - window_start_taken_) / 1e9,
        cpu_after_ - cpu_before_, total_, errors_, unfinished_, closed_by_peer_, opened_, statuses, reasons);
    fmt::print("\"p50_ns\":{},\"p99_ns\":{},\"p999_ns\":{},\"max_ns\":{},\"mean_ns\":{:.0f}}}\n",
               latency_.quantile_ns(0.5), latency_.quantile_ns(0.99), latency_.quantile_ns(0.999), latency_.max_ns(),
               latency_.mean_ns());
    (void)std::fflush(stdout);
  }

  Options options_;
  std::vector<Connection> connections_;
  std::vector<std::string> requests_;
  std::size_t next_request_ = 0;
  std::size_t next_idle_ = 0;
  std::deque<Connection*> free_;
  std::deque<std::int64_t> backlog_;  // intended times of requests for which no connection was free
  std::vector<Connection*> broken_;
  std::vector<Connection*> restarting_;
  int epoll_ = -1;
  std::int64_t start_ = 0;
  std::int64_t window_start_ = 0;
  std::int64_t window_end_ = 0;
  std::int64_t window_start_taken_ = 0;
  std::int64_t window_end_taken_ = 0;
  std::uint64_t cpu_before_ = 0;
  std::uint64_t cpu_after_ = 0;
  std::uint64_t requests_measured_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t unfinished_ = 0;
  std::uint64_t closed_by_peer_ = 0;
  std::uint64_t opened_ = 0;
  std::array<std::uint64_t, 1000> statuses_{};
  std::map<std::string, std::uint64_t, std::less<>> reasons_;
  Histogram latency_;
  Timeline timeline_;
  std::array<epoll_event, 256> events_{};
  std::array<char, 65536> buffer_{};
};

}  // namespace
}  // namespace dao::bench

int main(int count, char** arguments) {
  dao::bench::raise_descriptor_limit();
  dao::bench::Load load(dao::bench::parse_options(count, arguments));
  return load.run();
}
