// What a request costs in heap allocations once its connection and the worker are warm: none. Bodies, heads, coroutine
// frames and the access log's line live in memory that is kept from one request to the next.
//
// Every allocation of this test program goes through the operators below. Under sanitizers coroutine frames are plain
// allocations on purpose (rt/frame_pool.h) and operator new belongs to the sanitizer: there is nothing to count there.
#ifndef DAO_SANITIZED

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include "dao/server/request_path_fixture.h"

namespace {

thread_local std::size_t allocations = 0;

void* allocate(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void* allocate_aligned(std::size_t size, std::align_val_t alignment) {
  ++allocations;
  const auto align = static_cast<std::size_t>(alignment);
  void* memory = std::aligned_alloc(align, (size + align - 1) / align * align);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

// NOLINTBEGIN(misc-new-delete-overloads): the other forms call these.
void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_aligned(size, alignment);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
// NOLINTEND(misc-new-delete-overloads)

namespace dao::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A backend that needs no memory of its own to answer: it answers when asked to, between two steps of the loop.
class PassiveBackend final : public upstream::MemoryConnector {
 public:
  // Reads what DAO has sent and answers with `response` if that was anything. Returns the bytes read.
  std::size_t answer(std::string_view response) {
    if (stream_ == nullptr) return 0;
    char bytes[4096];
    const net::IoResult got = stream_->try_read(bytes);
    if (got.status != net::IoStatus::ok) return 0;
    iovec piece = http::h1::piece_of(response);
    static_cast<void>(stream_->try_write({&piece, 1}));
    return got.bytes;
  }
  int connections = 0;

 private:
  void opened(Opened connection) override {
    stream_ = std::move(connection.backend);
    ++connections;
  }
  std::unique_ptr<net::MemoryStream> stream_;
};

class RequestPathAllocationsTest : public testing::Test {
 protected:
  // `filters`: tables of the rule.
  explicit RequestPathAllocationsTest(const std::string& filters = {}) : path{loop, backend, configured(filters)} {
    loop.run_for(seconds(10));
    auto [server_side, client_side] = net::MemoryStream::make_pair();
    client = std::move(client_side);
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_port = htons(41234);
    raw.sin_addr.s_addr = htonl(0xCB007109);  // 203.0.113.9
    const net::Peer peer(reinterpret_cast<const sockaddr*>(&raw));
    connection = std::make_unique<http::h1::ServerConnection>(loop, std::move(server_side), peer, path.state.buffers,
                                                              path.settings, path, drain);
    loop.spawn(connection->serve());
  }

  // One keep-alive request, from the client's bytes to the last byte of its answer. Returns the allocations.
  std::size_t exchange(std::string_view request, std::string_view response, std::size_t expected_bytes) {
    const std::size_t before = allocations;
    iovec piece = http::h1::piece_of(request);
    static_cast<void>(client->try_write({&piece, 1}));
    loop.run_for(Nanoseconds::zero());
    EXPECT_GT(backend.answer(response), 0U);
    loop.run_for(milliseconds(1));
    char bytes[8192];
    std::size_t got = 0;
    for (net::IoResult read = client->try_read(bytes); read.status == net::IoStatus::ok; read = client->try_read(bytes))
      got += read.bytes;
    EXPECT_GE(got, expected_bytes);
    return allocations - before;
  }
  // The allocations of the 100th request.
  std::size_t of_the_hundredth(std::string_view request, std::string_view response, std::size_t expected_bytes) {
    std::size_t last = 0;
    for (int i = 0; i < 100; ++i) {
      last = exchange(request, response, expected_bytes);
      static_cast<void>(drop_log());
    }
    EXPECT_EQ(backend.connections, 1);
    return last;
  }
  std::size_t drop_log() {
    std::size_t dropped = 0;
    for (auto bytes = path.lane.readable(); !bytes.empty(); bytes = path.lane.readable()) {
      dropped += bytes.size();
      path.lane.consume(bytes.size());
    }
    return dropped;
  }

  void TearDown() override {
    client.reset();
    loop.run_for(Nanoseconds::zero());
    EXPECT_EQ(loop.live_tasks(), 0U);
  }

  rt::VirtualLoop loop;
  PassiveBackend backend;
  // An address whose text is longer than what std::string holds without allocating.
  static std::string configured(const std::string& filters) {
    return "[[routes.rule]]\nname = \"main\"\n[routes.rule.match]\nhost = [\"b.test\", \"shop.example.com\"]\n" +
           filters + "[[routes.rule.upstreams]]\nname = \"a\"\nurl = \"http://[2001:db8:1234:5678::9abc]:8080\"\n";
  }
  RequestPath path;
  rt::Cancel drain;
  std::unique_ptr<net::MemoryStream> client;
  std::unique_ptr<http::h1::ServerConnection> connection;
};

constexpr std::string_view kRequestFields =
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
    "X-Forwarded-For: 198.51.100.7\r\n"
    "Connection: keep-alive\r\n";

std::string browsers_request(std::string_view method, std::string_view more, std::string_view body) {
  return std::string{method} + " /api/v1/items/4711?fields=name,price HTTP/1.1\r\n" + std::string{kRequestFields} +
         std::string{more} + "\r\n" + std::string{body};
}

std::string response(std::string_view more, std::string_view body) {
  return "HTTP/1.1 200 OK\r\nServer: backend/1.0\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n" +
         std::string{more} + "\r\n" + std::string{body};
}

TEST_F(RequestPathAllocationsTest, AGetAllocatesNothing) {
  const std::string body(1024, 'b');
  EXPECT_EQ(of_the_hundredth(browsers_request("GET", "", ""), response("Content-Length: 1024\r\n", body), body.size()),
            0U);
}

TEST_F(RequestPathAllocationsTest, ALargeAnswerAllocatesNothing) {
  const std::string body(30'000, 'b');
  EXPECT_EQ(of_the_hundredth(browsers_request("GET", "", ""), response("Content-Length: 30000\r\n", body), body.size()),
            0U);
}

TEST_F(RequestPathAllocationsTest, APostAllocatesNothing) {
  const std::string body(1024, 'b');
  EXPECT_EQ(of_the_hundredth(browsers_request("POST", "Content-Length: 1024\r\n", body),
                             response("Content-Length: 1024\r\n", body), body.size()),
            0U);
}

TEST_F(RequestPathAllocationsTest, AnAnswerInChunksAllocatesNothing) {
  const std::string chunks = "400\r\n" + std::string(1024, 'b') + "\r\n0\r\n\r\n";
  EXPECT_EQ(of_the_hundredth(browsers_request("GET", "", ""), response("Transfer-Encoding: chunked\r\n", chunks), 1024),
            0U);
}

// Filters need no memory of their own, as long as what they write fits into what a head has anyway.
class FilteredPathAllocationsTest : public RequestPathAllocationsTest {
 protected:
  FilteredPathAllocationsTest()
      : RequestPathAllocationsTest(
            "[routes.rule.filters]\n"
            "request_headers_remove = [\"Accept-Encoding\"]\n"
            "request_headers_set = { \"User-Agent\" = \"dao\", \"X-Real-IP\" = \"$client_ip\", Host = "
            "\"$upstream_host\" }\n"
            "request_headers_add = { \"X-Asked\" = \"$scheme://$host$path\", \"X-To\" = \"$route/$upstream\" }\n"
            "response_headers_remove = [\"Server\"]\n"
            "response_headers_add = { \"X-Served-By\" = \"$upstream\", \"X-Id\" = \"<$request_id>\" }\n"
            "request_body_max_bytes = 100000\nresponse_body_max_bytes = 100000\nallow = [\"203.0.113.0/24\"]\n"
            "[routes.rule.filters.rate_limit]\nrps = 1000000\nburst = 1000000\nkey = \"client\"\n"
            "[routes.rule.rewrite]\nstrip_prefix = \"/api\"\n"
            "[routes.rule.sticky]\ncookie = \"s\"\nsecret = \"0123456789abcdef\"\n") {}
};

TEST_F(FilteredPathAllocationsTest, AGetAllocatesNothing) {
  const std::string body(1024, 'b');
  EXPECT_EQ(of_the_hundredth(browsers_request("GET", "", ""), response("Content-Length: 1024\r\n", body), body.size()),
            0U);
}

TEST_F(FilteredPathAllocationsTest, APostAllocatesNothing) {
  const std::string body(1024, 'b');
  EXPECT_EQ(of_the_hundredth(browsers_request("POST", "Content-Length: 1024\r\n", body),
                             response("Content-Length: 1024\r\n", body), body.size()),
            0U);
}

}  // namespace
}  // namespace dao::server

#endif
