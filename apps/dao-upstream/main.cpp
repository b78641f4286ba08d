// dao-upstream: an HTTP/1.1 server that misbehaves on request. For the demo, the tests and the benches; not for the
// public: anybody who reaches it may script it.
#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <cstdio>

#include "behaviour.h"
#include "command_line/command_line.h"
#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"
#include "server.h"

namespace {

using dao::fault::Behaviour;
using dao::fault::Server;

std::optional<dao::net::SocketAddress> parse_address(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.starts_with(kUnix)) return dao::net::SocketAddress::from_path(text.substr(kUnix.size()));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return dao::net::SocketAddress::from_ip(host, port);
}

std::string check_address(const std::string& text) {
  if (parse_address(text)) return {};
  return fmt::format("'{}': expected IP:PORT, [IPV6]:PORT or unix:/PATH", text);
}

std::string footer() {
  return "Behaviour parameters, in the query of any request (they add up: /x?delay_ms=200&status=503), in --default\n"
         "and in /_control:\n" +
         dao::fault::parameter_help() +
         "\nGET /_stats answers JSON counts. POST /_control?PARAMETER=VALUE&... changes the defaults while it runs, "
         "and:\n"
         "  refuse=1            closes the listening sockets (but --control): connections are refused\n"
         "  resume=1            opens them again\n"
         "  drop=1              resets all other connections\n"
         "  reset_stats=1       counts from 0\n"
         "  restore_defaults=1  as at the start\n"
         "  cold_start=1        cold_start_ms counts from now\n"
         "SIGTERM and SIGINT end it at once.\n";
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::uint64_t kMostThreads = 256;
  constexpr std::uint64_t kMostSlots = 1'000'000;
  dao::CommandLine line("dao-upstream", "An HTTP/1.1 server that misbehaves on request");
  line.footer(footer);
  Server::Settings settings;
  std::vector<std::string> listen{"127.0.0.1:0"};
  std::string control;
  std::string defaults;
  line.add_option("--listen", listen, "IP:PORT, [IPV6]:PORT or unix:/PATH, repeatable; port 0: the kernel's choice")
      .shows_default()
      .check(check_address);
  line.add_option("--control", control, "one more address, which stays open through refuse=1").check(check_address);
  line.add_option("--name", settings.name, "sent as X-Upstream with every answer");
  line.add_option("--threads", settings.threads, "each with a loop of its own").shows_default().range(1, kMostThreads);
  line.add_option("--slots", settings.slots,
                  "requests in service at once, the others queue in order; 0: no limit. Delays are the service time. "
                  "With one thread only")
      .shows_default()
      .range(0, kMostSlots);
  line.add_option("--seed", settings.seed, "of fail_rate and delay_exp_ms").shows_default();
  line.add_option("--default", defaults, "behaviour of requests that do not say otherwise: 'status=503&delay_ms=5'");
  for (const auto& [flag, parameter, help] :
       {std::tuple{"--delay-ms", "delay_ms", "as --default delay_ms=MS"},
        std::tuple{"--delay-exp-ms", "delay_exp_ms", "as --default delay_exp_ms=MS"},
        std::tuple{"--fail-rate", "fail_rate", "as --default fail_rate=SHARE"}}) {
    line.add_option(
        flag,
        [&defaults, name = parameter](const std::string& value) { defaults += fmt::format("&{}={}", name, value); },
        help);
  }
  if (const auto status = line.parse(argc, argv)) return *status;

  if (settings.slots != 0 && settings.threads != 1) {
    std::fputs("dao-upstream: --slots needs --threads 1\n", stderr);
    return 2;
  }
  if (const auto applied = dao::fault::apply_query(settings.defaults, defaults); !applied) {
    fmt::print(stderr, "dao-upstream: {}\n{}", applied.error(), dao::fault::parameter_help());
    return 2;
  }
  for (const std::string& text : listen) settings.listen.push_back(*parse_address(text));
  if (!control.empty()) settings.control = parse_address(control);

  // Blocked before the first thread is made, so that only the wait below sees them.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);

  Server server(std::move(settings));
  if (const auto started = server.start(); !started) {
    dao::log::error(started.error());
    dao::log::flush();
    return 1;
  }
  for (const auto& address : server.addresses()) dao::log::info("listening", {{"address", address.text()}});
  if (server.control_address()) dao::log::info("control", {{"address", server.control_address()->text()}});
  dao::log::info("ready");

  int signal = 0;
  sigwait(&ending, &signal);
  server.stop();
  dao::log::flush();
  return 0;
}
