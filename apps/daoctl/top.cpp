#include "top.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <string_view>
#include <utility>

#include "config_text.h"
#include "dao/base/utc_text.h"
#include "exit_status.h"
#include "tables.h"

namespace dao {

namespace {

using nlohmann::json;

// Signals as a descriptor that becomes readable; blocked from here on, and SIGPIPE ignored.
class Signals {
 public:
  Signals() {
    sigset_t wanted;
    sigemptyset(&wanted);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaddset(&wanted, signal);
    sigprocmask(SIG_BLOCK, &wanted, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    fd_ = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Signals() { close(fd_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  // Takes what has come. True: it is time to end.
  bool end_wanted() {
    signalfd_siginfo info{};
    bool end = false;
    while (read(fd_, &info, sizeof info) == sizeof info) end = end || info.ssi_signo != SIGWINCH;
    return end;
  }

 private:
  int fd_;
};

// False: whoever read it is gone.
bool write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(STDOUT_FILENO, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return true;
}

// A screen of its own while it lives; keys come one by one and unseen.
class Screen {
 public:
  Screen() {
    write_out("\x1b[?1049h\x1b[?25l");
    if (isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &before_) == 0) {
      termios quiet = before_;
      quiet.c_lflag &= static_cast<tcflag_t>(~(ICANON | ECHO));
      keys_ = tcsetattr(STDIN_FILENO, TCSANOW, &quiet) == 0;
    }
  }
  ~Screen() {
    if (keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    write_out("\x1b[?25h\x1b[?1049l");
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;
  [[nodiscard]] bool has_keys() const { return keys_; }

  // As much of the text as the screen holds now.
  bool show(std::string_view text) {
    constexpr std::size_t kRows = 24;
    constexpr std::size_t kColumns = 80;
    winsize size{};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    const std::size_t rows = known ? size.ws_row : kRows;
    const std::size_t columns = known ? size.ws_col : kColumns;
    std::string frame;
    for (std::size_t row = 0; row < rows && !text.empty(); ++row) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      // No line feed: behind the last row it would scroll.
      frame += fmt::format("\x1b[{};1H", row + 1);
      frame += line.substr(0, columns);
      frame += "\x1b[K";
    }
    return write_out(frame + "\x1b[J");
  }

 private:
  termios before_{};
  bool keys_ = false;
};

struct Sample {
  json status;
  json upstreams;
  json routes;
};

std::expected<Sample, ApiFailure> take_sample(const AdminClient& client) {
  auto status = client.get("/v1/status");
  if (!status) return std::unexpected(std::move(status.error()));
  auto upstreams = client.get("/v1/upstreams");
  if (!upstreams) return std::unexpected(std::move(upstreams.error()));
  auto routes = client.get("/v1/routes");
  if (!routes) return std::unexpected(std::move(routes.error()));
  return Sample{*std::move(status), *std::move(upstreams), *std::move(routes)};
}

std::string time_now() {
  return utc_text(std::chrono::system_clock::now(), "%Y-%m-%dT%H:%M:%SZ");
}

std::string screen_text(const Sample& sample) {
  const json& status = sample.status;
  const std::string transition = transition_brief(status.at("config").at("transition"));
  return fmt::format("DAO {}  {}  level {}  {}  {} connections  {} requests under way\n{}\n",
                     status.at("version").get<std::string>(), status.at("ready").get<bool>() ? "ready" : "not ready",
                     status.at("level").get<std::string>(), time_now(), status.at("connections").at("active").dump(),
                     status.at("requests").at("active").dump(),
                     transition.empty() ? "" : "transition " + transition + "\n") +
         upstreams_text(sample.upstreams) + "\n" + routes_text(sample.routes);
}

std::string quoted(const std::string& name) {
  return name.find_first_of(" =") == std::string::npos ? name : "\"" + name + "\"";
}

std::string line_text(const Sample& sample) {
  double rps = 0;
  for (const json& route : sample.routes.at("routes")) rps += route.at("rps").get<double>();
  std::string line =
      fmt::format("{} level={} rps={:.1f} active={}", time_now(), sample.status.at("level").get<std::string>(), rps,
                  sample.status.at("requests").at("active").dump());
  for (const json& one : sample.upstreams.at("upstreams")) {
    line += fmt::format(" | {} {}{} rps={:.1f} errors={:.1f}% p50={:.1f}ms p95={:.1f}ms in_flight={}",
                        quoted(one.at("name").get<std::string>()), one.at("presence").get<std::string>(),
                        one.at("drained").get<bool>() ? ",drained" : "", one.at("rps").get<double>(),
                        one.at("error_rate").get<double>() * 100, one.at("p50_ms").get<double>(),
                        one.at("p95_ms").get<double>(), one.at("in_flight").dump());
  }
  return line + "\n";
}

std::string json_line(const Sample& sample) {
  return json{{"status", sample.status},
              {"upstreams", sample.upstreams.at("upstreams")},
              {"routes", sample.routes.at("routes")}}
             .dump() +
         "\n";
}

}  // namespace

int top_command(const AdminClient& client, const TopOptions& options) {
  const SystemClock clock;
  Signals signals;
  std::optional<Screen> screen;
  std::string shown;
  bool reachable = false;
  Instant next = clock.now();
  for (std::uint64_t taken = 0;;) {
    if (clock.now() >= next) {
      next = std::max(next + options.interval, clock.now());
      const auto sample = take_sample(client);
      // On a terminal one waits for a DAO that restarts, but not for one that was never there.
      if (!sample && (!reachable || !screen)) {
        screen.reset();
        fmt::print(stderr, "daoctl: {}\n", sample.error().message);
        return sample.error().kind == ApiFailure::Kind::unreachable ? kUnreachable : kFailed;
      }
      reachable = true;
      const bool on_screen = !options.json && isatty(STDOUT_FILENO) == 1;
      if (on_screen && !screen) screen.emplace();
      if (on_screen) {
        shown = sample ? screen_text(*sample) : sample.error().message + "\n\n" + shown;
        if (!screen->show(shown)) return kSuccess;
      } else if (!write_out(options.json ? json_line(*sample) : line_text(*sample))) {
        return kSuccess;
      }
      if (++taken == options.count) return kSuccess;
    }
    std::array<pollfd, 3> fds{{{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                               {.fd = screen && screen->has_keys() ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                               // Asked for nothing: tells when a pipe's reader is gone.
                               {.fd = STDOUT_FILENO, .events = 0, .revents = 0}}};
    const auto left = std::chrono::ceil<Milliseconds>(next - clock.now());
    poll(fds.data(), fds.size(), static_cast<int>(std::max(left, Milliseconds{0}).count()));
    if ((fds[2].revents & (POLLERR | POLLHUP)) != 0) return kSuccess;
    if (fds[0].revents != 0) {
      if (signals.end_wanted()) return kSuccess;
      if (screen && !screen->show(shown)) return kSuccess;
    }
    if (fds[1].revents != 0) {
      char key = 0;
      if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q') return kSuccess;
    }
  }
}

}  // namespace dao
