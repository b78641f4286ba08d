#include "demo_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <expected>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/base/clock.h"
#include "dao/net/address.h"
#include "demo_figures.h"
#include "demo_load.h"
#include "demo_process.h"

namespace dao {

namespace {

constexpr Milliseconds kReadyPatience{10'000};
constexpr Milliseconds kEndPatience{10'000};
constexpr Milliseconds kTick{1000};
constexpr std::size_t kWindowTicks = 5;  // the figures are those of the last five seconds

struct Upstream {
  std::string_view name;
  std::string_view what;
  std::vector<std::string> arguments;
};

const std::vector<Upstream>& upstreams() {
  static const std::vector<Upstream> all = {
      {"steady", "answers in about 5 ms", {"--delay-exp-ms", "5"}},
      {"slow", "answers in about 200 ms", {"--delay-ms", "150", "--delay-exp-ms", "50"}},
      {"flaky",
       "as steady, but one answer in seven is a 503",
       {"--delay-exp-ms", "5", "--default", "fail_status=503", "--fail-rate", "0.15"}},
  };
  return all;
}

// A folder for the config and the access log, gone when the demo is.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "dao-demo-XXXXXX").string();
    if (!error && mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// SIGINT, SIGTERM and SIGHUP as a descriptor that becomes readable.
class EndSignal {
 public:
  EndSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~EndSignal() { close(fd_); }
  EndSignal(const EndSignal&) = delete;
  EndSignal& operator=(const EndSignal&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

// One line that is rewritten on a terminal; a line a second elsewhere.
class LiveLine {
 public:
  void show(std::string line) {
    if (!terminal_) {
      fmt::print("{}\n", line);
    } else {
      winsize size{};
      if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && line.size() >= size.ws_col) {
        line.resize(size.ws_col - 1U);
      }
      fmt::print("\r\x1b[K{}", line);
      open_ = true;
    }
    std::fflush(stdout);
  }
  // What comes next begins a line.
  void end() {
    if (open_) fmt::print("\n");
    open_ = false;
  }

 private:
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  bool open_ = false;
};

std::string toml_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

class Demo {
 public:
  explicit Demo(const DemoOptions& options) : options_(options) {}
  ~Demo() { end(); }
  Demo(const Demo&) = delete;
  Demo& operator=(const Demo&) = delete;

  std::expected<void, std::string> start();
  // Until a signal, the end of the time, or the end of something it needs.
  std::expected<void, std::string> watch();
  void end();

 private:
  [[nodiscard]] std::string config() const;
  void introduce() const;
  std::expected<void, std::string> tick(LiveLine& line);

  DemoOptions options_;
  EndSignal end_signal_;
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<DemoProcess>> upstreams_;
  std::unique_ptr<DemoProcess> dao_;
  std::unique_ptr<DemoLoad> load_;
  std::string address_;
  std::string telemetry_address_;
  std::string admin_address_;
  net::SocketAddress telemetry_;
  std::deque<DemoSample> window_;
  std::optional<DemoSample> first_;
};

std::optional<net::SocketAddress> parse_address(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) return net::SocketAddress::from_path(text.substr(kUnix.size()));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  std::uint16_t port = 0;
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  return net::SocketAddress::from_ip(host, port);
}

std::string Demo::config() const {
  std::string text = fmt::format(
      "# Made by `dao demo`.\n[server]\nbind = {}\n\n[telemetry]\nprometheus_bind = \"127.0.0.1:0\"\n\n"
      "[admin]\nbind = \"127.0.0.1:0\"\nexplain_header = true\n\n[memory]\npath = \"off\"\n\n"
      "[telemetry.access_log]\npath = {}\n\n[[routes.rule]]\nname = \"demo\"\npolicy = \"least-connections\"\n",
      toml_string(options_.bind), toml_string(folder_.path() + "/access.log"));
  for (const auto& upstream : upstreams_) {
    text += fmt::format("\n[[routes.rule.upstreams]]\nname = {}\nurl = {}\n", toml_string(upstream->name()),
                        toml_string("http://" + upstream->logged("listening", "address")));
  }
  return text;
}

std::expected<void, std::string> Demo::start() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string upstream_program = (self.parent_path() / "dao-upstream").string();
  if (error || access(upstream_program.c_str(), X_OK) != 0) {
    return std::unexpected("the demo needs the program dao-upstream beside dao: " + upstream_program +
                           " is missing (`make build` makes both)");
  }
  if (folder_.path().empty()) return std::unexpected("cannot make a temporary folder (is $TMPDIR writable?)");

  for (const Upstream& upstream : upstreams()) {
    std::vector<std::string> arguments{"--name", std::string{upstream.name}};
    arguments.insert(arguments.end(), upstream.arguments.begin(), upstream.arguments.end());
    upstreams_.push_back(std::make_unique<DemoProcess>(std::string{upstream.name}, upstream_program, arguments));
  }
  for (const auto& upstream : upstreams_) {
    if (const auto ready = upstream->wait_until_ready(kReadyPatience); !ready) return ready;
  }

  const std::string config_path = folder_.path() + "/dao.toml";
  std::ofstream{config_path} << config();
  dao_ = std::make_unique<DemoProcess>("dao", self.string(), std::vector<std::string>{"run", "--config", config_path});
  if (const auto ready = dao_->wait_until_ready(kReadyPatience); !ready) return ready;
  address_ = dao_->logged("listening", "address");
  telemetry_address_ = dao_->logged("telemetry", "address");
  admin_address_ = dao_->logged("admin", "address");
  const auto proxy = parse_address(address_);
  const auto telemetry = parse_address(telemetry_address_);
  if (!proxy || !telemetry) return std::unexpected("dao did not say where it listens:\n" + dao_->last_lines());
  telemetry_ = *telemetry;
  introduce();
  load_ = std::make_unique<DemoLoad>(*proxy, static_cast<double>(options_.rate));
  return {};
}

void Demo::introduce() const {
  const bool is_unix = address_.starts_with("unix:");
  const std::string curl =
      is_unix ? "curl --unix-socket " + address_.substr(5) + " -i 'http://demo/" : "curl -i 'http://" + address_ + "/";
  const std::pair<std::string, std::string_view> hints[] = {
      {curl + "'", "X-Upstream says who answered"},
      {curl + "?inspect=1'", "what the upstream received from DAO"},
      {curl + "?status=503'", "a failure that no other upstream can mend"},
      {curl + "?reset=head'", "connections that break: DAO's own answer"},
      {"curl 'http://" + telemetry_address_ + "/metrics'", "the figures below, and more"},
      {"daoctl --admin " + admin_address_ + " top", "the upstreams live; `explain demo`: why they are chosen"},
      {"tail -f " + folder_.path() + "/access.log", "each request with its upstream and times"},
      {"cat " + folder_.path() + "/dao.toml", "the configuration of all this"},
  };
  std::size_t width = 0;
  for (const auto& [command, what] : hints) width = std::max(width, command.size());

  fmt::print("DAO listens on {} and serves from three upstreams, least connections first:\n", address_);
  for (const Upstream& upstream : upstreams()) fmt::print("  {:<8}{}\n", upstream.name, upstream.what);
  fmt::print(
      "A light load of {} requests per second runs. What fails is asked for again elsewhere, within a budget, but for\n"
      "POST: it might be done twice.\n\nTry, in another terminal:\n",
      options_.rate);
  for (const auto& [command, what] : hints) fmt::print("  {:<{}}  # {}\n", command, width, what);
  fmt::print("\n{}\n\n",
             options_.seconds == 0 ? "Ctrl-C ends everything." : fmt::format("Ends after {} s.", options_.seconds));
  std::fflush(stdout);
}

std::expected<void, std::string> Demo::tick(LiveLine& line) {
  auto sample = scrape(telemetry_);
  if (!sample) return std::unexpected(sample.error());
  if (!first_) first_ = *sample;
  window_.push_back(std::move(*sample));
  if (window_.size() > kWindowTicks + 1) window_.pop_front();
  if (window_.size() < 2) return {};
  std::vector<std::string> names;
  for (const auto& upstream : upstreams_) names.push_back(upstream->name());
  line.show(figures_line(window_.front(), window_.back(), names));
  return {};
}

std::expected<void, std::string> Demo::watch() {
  const SystemClock clock;
  const Instant end = options_.seconds == 0 ? kNever : clock.now() + std::chrono::seconds(options_.seconds);
  Instant next = clock.now();
  LiveLine line;
  std::expected<void, std::string> outcome;
  std::vector<DemoProcess*> processes{dao_.get()};
  for (const auto& upstream : upstreams_) processes.push_back(upstream.get());
  for (;;) {
    const Instant now = clock.now();
    if (now >= end) break;
    if (now >= next) {
      next += kTick;
      outcome = tick(line);
      if (!outcome) break;
    }
    std::vector<pollfd> fds{{.fd = end_signal_.fd(), .events = POLLIN, .revents = 0}};
    for (const DemoProcess* process : processes) {
      fds.push_back({.fd = process->log_fd(), .events = POLLIN, .revents = 0});
    }
    const auto left = std::chrono::ceil<Milliseconds>(std::min(next, end) - clock.now());
    poll(fds.data(), fds.size(), static_cast<int>(std::max(left, Milliseconds{0}).count()));
    if (fds[0].revents != 0) break;
    for (std::size_t i = 0; i < processes.size() && outcome; ++i) {
      if (fds[i + 1].revents == 0 || processes[i]->read_log()) continue;
      outcome = std::unexpected(processes[i]->name() + " has ended unexpectedly:\n" + processes[i]->last_lines());
    }
    if (!outcome) break;
  }
  line.end();
  if (outcome && first_) {
    if (const auto last = scrape(telemetry_)) {
      fmt::print("\n{:.0f} requests in {:.0f} s, {:.0f} of them failed, {:.0f} retries.\n",
                 last->requests - first_->requests, std::chrono::duration<double>(last->taken - first_->taken).count(),
                 last->errors - first_->errors, last->retries - first_->retries);
    }
  }
  return outcome;
}

void Demo::end() {
  // From the client's side to the servers', so that nothing breaks on the way down.
  load_.reset();
  if (dao_) {
    dao_->terminate();
    dao_->wait_end(kEndPatience);
    dao_.reset();
  }
  for (const auto& upstream : upstreams_) upstream->terminate();
  for (const auto& upstream : upstreams_) upstream->wait_end(kEndPatience);
  upstreams_.clear();
}

}  // namespace

int demo_command(const DemoOptions& options) {
  Demo demo(options);
  auto outcome = demo.start();
  if (outcome) outcome = demo.watch();
  demo.end();
  if (outcome) return 0;
  fmt::print(stderr, "dao demo: {}\n", outcome.error());
  return 1;
}

}  // namespace dao
