// For tests and benchmarks of filters: an exchange with a request, and nobody behind it.
#pragma once

#include "dao/http/exchange.h"

namespace dao::flow {

// A client that asks the same again and again, and takes whatever it gets.
class AskingExchange final : public http::Exchange {
 public:
  AskingExchange() : peer_(net::SocketAddress::from_ip("203.0.113.9", 4711)->raw()) {}

  void begin() {
    request_.clear();
    request_.path = "/api/v1/items/4711?fields=name,price";
    request_.authority = "shop.example.com";
    request_.method_text = "GET";
    request_.add("Host", "shop.example.com", http::FieldId::host);
    request_.add("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)", http::FieldId::user_agent);
    request_.add("Accept", "text/html", http::FieldId::accept);
    request_.add("Cookie", "session=0123456789abcdef0123456789abcdef");
    response.clear();
    response.status = 200;
    response.add("Server", "backend/1.0");
    response.add("Content-Type", "application/json", http::FieldId::content_type);
  }
  http::ResponseHead response;

  http::RequestHead& request() override { return request_; }
  [[nodiscard]] const net::Peer& peer() const override { return peer_; }
  [[nodiscard]] bool reused_connection() const override { return true; }
  [[nodiscard]] Instant started() const override { return {}; }
  Result<http::BodyPiece> take_buffered_body() override { return http::BodyPiece{{}, true}; }
  rt::Task<Result<http::BodyPiece>> read_body(rt::Cancel*, Nanoseconds) override {
    co_return http::BodyPiece{{}, true};
  }
  [[nodiscard]] bool body_read_to_end() const override { return true; }
  [[nodiscard]] std::span<const http::Field> request_trailers() const override { return {}; }
  [[nodiscard]] std::uint64_t request_body_bytes() const override { return 0; }
  void watch_client(rt::Cancel*) override {}
  rt::Task<Result<>> send_interim(const http::ResponseHead&) override { co_return Result<>{}; }
  rt::Task<Result<>> send_head(http::ResponseHead&, http::BodyFraming, http::BodyPiece) override {
    co_return Result<>{};
  }
  rt::Task<Result<>> send_body(http::BodyPiece, std::span<const http::Field>) override { co_return Result<>{}; }
  [[nodiscard]] bool head_sent() const override { return false; }
  [[nodiscard]] std::uint64_t response_body_bytes() const override { return 0; }
  void abort() override {}
  void close_after() override {}

 private:
  http::RequestHead request_;
  net::Peer peer_;
};

}  // namespace dao::flow
