#include "dao/telemetry/access_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <expected>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"

namespace dao::telemetry {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kStdout = "-";
constexpr auto kComplaintInterval = std::chrono::minutes{1};

// Where the lines go: an open file, pipe, socket or terminal. Never waits longer than kWriteInterval for room.
class Output {
 public:
  // The errno of open() if it fails.
  static std::expected<Output, int> open(const std::string& path) {
    if (path == kStdout) return Output{STDOUT_FILENO, false};
    // O_NONBLOCK: a FIFO without reader must fail, not hang; it means nothing for a file.
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0) return std::unexpected(errno);
    return Output{fd, true};
  }
  ~Output() {
    if (owned_) ::close(fd_);
  }
  Output(Output&& other) noexcept : fd_(other.fd_), owned_(std::exchange(other.owned_, false)), waits_(other.waits_) {}
  Output& operator=(Output&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(owned_, other.owned_);
    std::swap(waits_, other.waits_);
    return *this;
  }

  // Writes a first part of `text`, not empty, or fails with an errno; EAGAIN: nobody takes anything.
  [[nodiscard]] std::expected<std::size_t, int> write(std::span<const char> text) const {
    if (waits_) {
      // stdout belongs to others too and may block. A pipe that is ready has room for PIPE_BUF bytes.
      pollfd wanted{.fd = fd_, .events = POLLOUT, .revents = 0};
      if (::poll(&wanted, 1, static_cast<int>(AccessLog::kWriteInterval.count())) == 0) return std::unexpected(EAGAIN);
      text = whole_lines(text.first(std::min<std::size_t>(text.size(), PIPE_BUF)));
    }
    while (true) {
      const ssize_t written = ::write(fd_, text.data(), text.size());
      if (written > 0) return static_cast<std::size_t>(written);
      if (written == 0) return std::unexpected(EIO);
      if (errno != EINTR) return std::unexpected(errno);
    }
  }

 private:
  Output(int fd, bool owned) : fd_(fd), owned_(owned) {
    struct stat status{};
    waits_ = ::fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
  }

  // Up to the last line's end, so that others who write to the same pipe do not get between; all if no line ends.
  static std::span<const char> whole_lines(std::span<const char> text) {
    const std::size_t end = std::string_view{text.data(), text.size()}.rfind('\n');
    return end == std::string_view::npos ? text : text.first(end + 1);
  }

  int fd_;
  bool owned_;
  bool waits_ = false;
};

}  // namespace

// The thread that empties the lanes. Its own members are touched by that thread alone; what others ask of it stands
// under mutex_.
class AccessLog::Writer {
 public:
  Writer(AccessLogOptions options, Output output) : path_(std::move(options.path)), output_(std::move(output)) {
    for (std::size_t i = 0; i < options.workers; ++i) {
      lanes_.push_back(std::make_unique<AccessLogLane>(options.format, options.buffer_bytes, bell_));
    }
    const SignalsBlocked quiet;
    thread_ = std::thread([this] { run(); });
  }

  ~Writer() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake();
    thread_.join();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  AccessLogLane& lane(std::size_t worker) { return *lanes_[worker]; }

  void reopen() {
    {
      const std::lock_guard lock(mutex_);
      ++reopens_wanted_;
    }
    wake();
  }

  bool flush(milliseconds patience) {
    std::vector<std::uint64_t> goals;
    for (const auto& lane : lanes_) goals.push_back(lane->produced());
    wake();
    std::unique_lock lock(mutex_);
    const std::uint64_t reopens = reopens_wanted_;
    return round_over_.wait_for(lock, patience, [&] {
      if (reopens_done_ < reopens) return false;
      for (std::size_t i = 0; i < lanes_.size(); ++i) {
        if (lanes_[i]->consumed() < goals[i]) return false;
      }
      return true;
    });
  }

  [[nodiscard]] std::uint64_t dropped() const {
    std::uint64_t sum = abandoned_.value();
    for (const auto& lane : lanes_) sum += lane->dropped();
    return sum;
  }

 private:
  void wake() {
    bell_.ring_always();
    wanted_.notify_all();
  }

  void run() {
    ::pthread_setname_np(::pthread_self(), "dao-access-log");
    std::optional<SteadyClock::time_point> give_up;  // set when asked to stop
    while (true) {
      // A failing output is tried again after a pause; a ring that is more than half full must not cut it short.
      const bool failing = failing_;
      if (!failing) bell_.arm();
      open_again_if_wanted();
      const bool all_written = write_lanes();
      const bool stop = end_round(failing && !all_written);
      if (!stop) {
        if (all_written) bell_.wait(kWriteInterval);
        continue;
      }
      if (!give_up) {
        give_up =
            SteadyClock::now() + kShutdownPatience;  // and once more: this round may have begun before the last line
      } else if (all_written || SteadyClock::now() >= *give_up) {
        break;
      }
    }
    abandon_rest();
  }

  // Tells those who wait in flush(); pauses if `pause`. True when asked to stop.
  bool end_round(bool pause) {
    std::unique_lock lock(mutex_);
    round_over_.notify_all();
    if (pause) {
      const auto until = SteadyClock::now() + (stop_ ? milliseconds{10} : kWriteInterval);
      const bool stopping = stop_;
      wanted_.wait_until(lock, until, [&] { return reopens_done_ < reopens_wanted_ || stop_ != stopping; });
    }
    return stop_;
  }

  void open_again_if_wanted() {
    std::uint64_t wanted = 0;
    {
      const std::lock_guard lock(mutex_);
      wanted = reopens_wanted_;
      if (wanted == reopens_done_) return;
    }
    if (auto opened = Output::open(path_)) {
      finish_torn_line();
      output_ = *std::move(opened);
      log::info("access log reopened", {{"path", path_}});
    } else {
      log::error("cannot reopen the access log, going on with the old file",
                 {{"path", path_}, {"error", std::strerror(opened.error())}});
    }
    const std::lock_guard lock(mutex_);
    reopens_done_ = wanted;
  }

  // Goes on where the last round stopped. True when every lane was found empty.
  bool write_lanes() {
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      AccessLogLane& lane = *lanes_[current_];
      for (auto text = lane.readable(); !text.empty(); text = lane.readable()) {
        const auto written = output_.write(text);
        if (!written) {
          failed(written.error());
          return false;
        }
        torn_ = text[*written - 1] != '\n';
        lane.consume(*written);
        recovered();
      }
      current_ = (current_ + 1) % lanes_.size();
    }
    return true;
  }

  void failed(int error) {
    failing_ = true;
    const auto now = SteadyClock::now();
    if (now < next_complaint_) return;
    next_complaint_ = now + kComplaintInterval;
    complained_ = true;
    log::error("cannot write the access log, lines are dropped when the buffer is full",
               {{"path", path_}, {"error", std::strerror(error)}, {"dropped", dropped()}});
  }

  void recovered() {
    failing_ = false;
    if (!complained_) return;
    complained_ = false;
    log::info("access log is written again", {{"path", path_}, {"dropped", dropped()}});
  }

  // The first part of the current lane's line is in a file that is given up; the rest must not begin the new one.
  void finish_torn_line() {
    if (!torn_) return;
    AccessLogLane& lane = *lanes_[current_];
    const auto rest = lane.readable();
    lane.consume(std::min(std::string_view{rest.data(), rest.size()}.find('\n'), rest.size() - 1) + 1);
    abandoned_.add();
    torn_ = false;
  }

  void abandon_rest() {
    std::uint64_t lines = 0;
    for (const auto& lane : lanes_) {
      for (auto text = lane->readable(); !text.empty(); text = lane->readable()) {
        lines += static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
        lane->consume(text.size());
      }
    }
    if (lines == 0) return;
    abandoned_.add(lines);
    log::error("access log could not be finished", {{"path", path_}, {"lost", lines}});
  }

  const std::string path_;
  AccessLogBell bell_;
  std::vector<std::unique_ptr<AccessLogLane>> lanes_;

  std::mutex mutex_;
  std::condition_variable round_over_;  // for flush()
  std::condition_variable wanted_;      // for the pause of a failing writer
  std::uint64_t reopens_wanted_ = 0;
  std::uint64_t reopens_done_ = 0;
  bool stop_ = false;

  Output output_;
  std::size_t current_ = 0;  // the lane to go on with
  bool torn_ = false;        // the file ends within a line of the current lane
  bool failing_ = false;     // the last attempt to write failed
  bool complained_ = false;  // and the operator was told
  SteadyClock::time_point next_complaint_;
  Counter abandoned_;

  std::thread thread_;
};

Result<std::unique_ptr<AccessLog>> AccessLog::open(AccessLogOptions options) {
  auto output = Output::open(options.path);
  if (!output) {
    return std::unexpected(Error{.origin = Origin::config,
                                 .kind = ErrorKind::io,
                                 .sys_errno = output.error(),
                                 .detail = "cannot open the access log"});
  }
  auto writer = std::make_unique<Writer>(std::move(options), *std::move(output));
  return std::unique_ptr<AccessLog>(new AccessLog(std::move(writer)));
}

AccessLog::AccessLog(std::unique_ptr<Writer> writer) : writer_(std::move(writer)) {}
AccessLog::~AccessLog() = default;

AccessLogLane& AccessLog::lane(std::size_t worker) {
  return writer_->lane(worker);
}
void AccessLog::reopen() {
  writer_->reopen();
}
bool AccessLog::flush(milliseconds patience) {
  return writer_->flush(patience);
}
std::uint64_t AccessLog::dropped() const {
  return writer_->dropped();
}

}  // namespace dao::telemetry
