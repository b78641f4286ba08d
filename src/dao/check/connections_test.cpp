#include "dao/check/connections.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "dao/net/address.h"

namespace dao::check {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A socket at `address`; a connection to it is accepted by the kernel once it listens, and refused before.
class Bound {
 public:
  explicit Bound(const net::SocketAddress& address) : fd_(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(bind(fd_, address.raw(), address.length()), 0);
  }
  ~Bound() { close(fd_); }
  Bound(const Bound&) = delete;
  Bound& operator=(const Bound&) = delete;

  void start_listening() const { EXPECT_EQ(listen(fd_, 1), 0); }
  [[nodiscard]] std::uint16_t port() const { return net::SocketAddress::local_of(fd_).port(); }

 private:
  int fd_;
};

Bound on_loopback() {
  return Bound(*net::SocketAddress::from_ip("127.0.0.1", 0));
}

std::vector<std::string> check(const std::vector<std::string>& urls, const std::string& more = {}) {
  std::string text = more + "[[routes.rule]]\nname = \"r\"\n";
  for (std::size_t i = 0; i < urls.size(); ++i) {
    text += fmt::format("[[routes.rule.upstreams]]\nname = \"u{}\"\nurl = \"{}\"\n", i, urls[i]);
  }
  const auto loaded = config::load_text(text, "x");
  if (!loaded) return {loaded.error().front().message};
  std::vector<std::string> lines;
  for (const config::Diagnostic& one : check_connections(loaded->config)) {
    EXPECT_EQ(one.severity, config::Severity::warning);
    lines.push_back(fmt::format("{}: {}", one.key, one.message));
  }
  return lines;
}

TEST(Connections, WhoAcceptsIsNotMentioned) {
  const Bound there = on_loopback();
  there.start_listening();
  EXPECT_THAT(check({fmt::format("http://127.0.0.1:{}", there.port())}), IsEmpty());
}

TEST(Connections, WhoRefusesIs) {
  const Bound there = on_loopback();
  const Bound refuses = on_loopback();
  there.start_listening();
  EXPECT_THAT(
      check({fmt::format("http://127.0.0.1:{}", there.port()), fmt::format("h2c://127.0.0.1:{}", refuses.port())}),
      ElementsAre(fmt::format("routes.rule[0].upstreams[1].url: nobody accepts connections at 127.0.0.1:{}: "
                              "Connection refused",
                              refuses.port())));
}

TEST(Connections, UnixSockets) {
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("dao_connections_{}", getpid())).string();
  EXPECT_THAT(check({"unix:" + path}), ElementsAre(HasSubstr(": No such file or directory")));
  {
    const Bound bound(*net::SocketAddress::from_path(path));
    EXPECT_THAT(check({"unix:" + path}), ElementsAre(HasSubstr(path + ": Connection refused")));
    bound.start_listening();
    EXPECT_THAT(check({"unix:" + path}), IsEmpty());
  }
  std::filesystem::remove(path);
}

// Many more than are tried at once; two upstreams with one address are both mentioned.
TEST(Connections, Many) {
  const Bound refuses = on_loopback();
  std::vector<std::string> urls;
  for (int i = 0; i < 700; ++i)
    urls.push_back(fmt::format("http://127.{}.{}.1:{}", 1 + i / 250, i % 250, refuses.port()));
  urls.push_back(urls.back());
  EXPECT_EQ(check(urls).size(), urls.size());
}

// A DNS server that nobody is at: the answer is that there is none.
TEST(Connections, NamesThatResolveNowhere) {
  const Bound silent = on_loopback();
  const std::string dns = fmt::format("[dns]\nservers = [\"127.0.0.1:{}\"]\ntimeout_ms = 200\n", silent.port());
  EXPECT_THAT(check({"http://nowhere.test", "http://localhost:1"}, dns),
              ElementsAre(HasSubstr("routes.rule[0].upstreams[0].url: the name nowhere.test resolves nowhere: "),
                          HasSubstr("routes.rule[0].upstreams[1].url: nobody accepts connections at ")));
}

}  // namespace
}  // namespace dao::check
