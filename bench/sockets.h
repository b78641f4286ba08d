// What both bench programs need of the operating system. All of it ends the program on failure: a benchmark with half
// of its sockets measures nothing.
#pragma once

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace dao::bench {

template <typename... Arguments>
[[noreturn]] void fail(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  fmt::print(stderr, "bench: {}\n", fmt::format(text, std::forward<Arguments>(arguments)...));
  std::exit(2);
}

inline void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

template <typename Number>
Number parse_number(std::string_view text) {
  Number number{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) fail("'{}' is not a number", text);
  return number;
}

// "127.0.0.1:8080"
inline sockaddr_in parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) fail("'{}' is not ADDRESS:PORT", text);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(parse_number<std::uint16_t>(text.substr(colon + 1)));
  if (inet_pton(AF_INET, std::string(text.substr(0, colon)).c_str(), &address.sin_addr) != 1) {
    fail("'{}' is not an IPv4 address", text.substr(0, colon));
  }
  return address;
}

inline sockaddr* generic(sockaddr_in& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

inline void set_option(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

}  // namespace dao::bench
