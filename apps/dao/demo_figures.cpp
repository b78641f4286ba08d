#include "demo_figures.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <optional>

namespace dao {

namespace {

// The value of a label in `{a="x",b="y"}`. Names of the demo's own config need no unescaping.
std::string_view label(std::string_view labels, std::string_view name) {
  const std::string mark = std::string{name} + "=\"";
  const std::size_t at = labels.find(mark);
  if (at == std::string_view::npos) return {};
  const std::size_t begin = at + mark.size();
  return labels.substr(begin, labels.find('"', begin) - begin);
}

double number(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

double per_second(double from, double to, const DemoSample& first, const DemoSample& last) {
  const double seconds = std::chrono::duration<double>(last.taken - first.taken).count();
  return seconds > 0 ? (to - from) / seconds : 0;
}

std::string milliseconds(double seconds) {
  const double ms = seconds * 1000;
  return fmt::format("{:.{}f} ms", ms, ms < 10 ? 1 : 0);
}

}  // namespace

DemoSample parse_metrics(std::string_view text) {
  DemoSample sample;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t space = line.rfind(' ');
    if (line.starts_with('#') || space == std::string_view::npos) continue;
    const std::string_view series = line.substr(0, space);
    const double value = number(line.substr(space + 1));
    const std::string_view name = series.substr(0, series.find('{'));
    const std::string_view labels = series.substr(name.size());
    if (name == "dao_requests_total") {
      const std::string_view code = label(labels, "code_class");
      sample.requests += value;
      if (code == "5xx" || code == "none") sample.errors += value;
    } else if (name == "dao_request_duration_seconds_bucket") {
      sample.duration_buckets[number(label(labels, "le"))] += value;
    } else if (name == "dao_upstream_requests_total") {
      sample.attempts[std::string{label(labels, "upstream")}] += value;
    } else if (name == "dao_upstream_retries_total") {
      sample.retries += value;
    }
  }
  return sample;
}

std::expected<DemoSample, std::string> scrape(const net::SocketAddress& telemetry) {
  const auto fail = [](std::string_view what) {
    return std::unexpected(fmt::format("cannot read DAO's metrics: {}: {}", what, std::strerror(errno)));
  };
  const int fd = socket(telemetry.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail("socket");
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  const timeval patience{.tv_sec = 2, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (connect(fd, telemetry.raw(), telemetry.length()) != 0) return fail("connect");
  // HTTP/1.0: the answer is not chunked and ends with the connection.
  constexpr std::string_view kRequest = "GET /metrics HTTP/1.0\r\nHost: dao\r\n\r\n";
  if (send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kRequest.size())) {
    return fail("send");
  }
  std::string answer;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0) return fail("receive");
    if (got == 0) break;
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  const std::size_t body = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 200 ") || body == std::string::npos) {
    return std::unexpected("DAO's /metrics answered: " + answer.substr(0, answer.find('\r')));
  }
  DemoSample sample = parse_metrics(std::string_view{answer}.substr(body + 4));
  sample.taken = SystemClock{}.now();
  return sample;
}

double quantile(const DemoSample& from, const DemoSample& to, double share) {
  const auto before = [&from](double bound) {
    const auto found = from.duration_buckets.find(bound);
    return found == from.duration_buckets.end() ? 0 : found->second;
  };
  if (to.duration_buckets.empty()) return 0;
  const auto& [last_bound, last_count] = *to.duration_buckets.rbegin();
  const double wanted = (last_count - before(last_bound)) * share;
  double lower_bound = 0;
  double lower_count = 0;
  for (const auto& [bound, cumulative] : to.duration_buckets) {
    const double count = cumulative - before(bound);
    if (count >= wanted && count > lower_count) {
      if (std::isinf(bound)) return lower_bound;
      return lower_bound + (bound - lower_bound) * (wanted - lower_count) / (count - lower_count);
    }
    lower_bound = bound;
    lower_count = count;
  }
  return 0;
}

std::string figures_line(const DemoSample& from, const DemoSample& to, const std::vector<std::string>& upstreams) {
  const double requests = to.requests - from.requests;
  const double errors = requests > 0 ? 100 * (to.errors - from.errors) / requests : 0;
  std::string line =
      fmt::format("{:.0f} req/s | p50 {}  p99 {} | errors {:.1f} % | retries {:.1f}/s |",
                  per_second(from.requests, to.requests, from, to), milliseconds(quantile(from, to, 0.50)),
                  milliseconds(quantile(from, to, 0.99)), errors, per_second(from.retries, to.retries, from, to));
  const auto attempts = [](const DemoSample& sample, const std::string& name) {
    const auto found = sample.attempts.find(name);
    return found == sample.attempts.end() ? 0.0 : found->second;
  };
  double all = 0;
  for (const std::string& name : upstreams) all += attempts(to, name) - attempts(from, name);
  for (const std::string& name : upstreams) {
    const double share = all > 0 ? 100 * (attempts(to, name) - attempts(from, name)) / all : 0;
    line += fmt::format(" {} {:.0f} % ", name, share);
  }
  line.pop_back();
  return line;
}

}  // namespace dao
