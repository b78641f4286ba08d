// An exchange with a client seen through the filters of its route: the request path asks it what may be done, and all
// that goes to the client passes through it, DAO's own answers too. One thread; lives as long as the exchange.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dao/base/random.h"
#include "dao/flow/chain.h"
#include "dao/flow/facts.h"
#include "dao/http/exchange.h"
#include "dao/sense/shard.h"

namespace dao::flow {

struct Surroundings {
  Random& random;
  sense::RouteCounters& counters;
  std::string_view intent = {};  // empty: none
};

// Which upstreams a request may go to, by positions in Rule::upstreams.
struct Selection {
  const std::vector<std::uint8_t>* allowed = nullptr;  // null: all
  std::optional<std::size_t> preferred = {};           // to be tried first, if it is allowed
};

// An answer that the chain gives itself; its fields come with send_head().
struct LocalAnswer {
  std::uint16_t status = 0;
  std::string_view body = {};
};

class FilteredExchange final : public http::Exchange {
 public:
  FilteredExchange(const Chain& chain, http::Exchange& client, Surroundings surroundings);

  // The steps of the request path, in this order.
  // 1. As received: may it pass? Addresses, rate limit, announced length. `now`: as the loop has it, which may be some
  // time ago; `clock` says how late it is.
  Result<> admit(Instant now, const Clock& clock);
  // 2. Redirect or fixed response; nothing: it goes to an upstream.
  std::optional<LocalAnswer> answer();
  // 3. Split and sticky sessions, by what the client has sent.
  Selection select();
  // 4. Edited for forwarding (http::prepare_request): path and fields for the upstream.
  void edit_request();
  // 5. Each time that an upstream was chosen: its place among those of the rule, its name, and what Host calls it.
  void chosen(std::size_t position, std::string_view name, std::string_view host);
  // 6. No upstream's answer will be sent, but one of DAO's own.
  void answers_itself();

  http::RequestHead& request() override { return client_.request(); }
  [[nodiscard]] const net::Peer& peer() const override { return client_.peer(); }
  [[nodiscard]] const net::TlsFacts* tls() const override { return client_.tls(); }
  [[nodiscard]] bool reused_connection() const override { return client_.reused_connection(); }
  [[nodiscard]] Instant started() const override { return client_.started(); }
  Result<http::BodyPiece> take_buffered_body() override;
  rt::Task<Result<http::BodyPiece>> read_body(rt::Cancel* cancel, Nanoseconds grace) override;
  [[nodiscard]] bool body_read_to_end() const override { return client_.body_read_to_end(); }
  [[nodiscard]] std::span<const http::Field> request_trailers() const override { return client_.request_trailers(); }
  [[nodiscard]] std::uint64_t request_body_bytes() const override { return client_.request_body_bytes(); }
  void watch_client(rt::Cancel* cancel) override { client_.watch_client(cancel); }
  rt::Task<Result<>> send_interim(const http::ResponseHead& head) override { return client_.send_interim(head); }
  rt::Task<Result<>> send_head(http::ResponseHead& head, http::BodyFraming framing, http::BodyPiece first) override;
  rt::Task<Result<>> send_body(http::BodyPiece piece, std::span<const http::Field> trailers) override;
  [[nodiscard]] bool head_sent() const override { return client_.head_sent(); }
  [[nodiscard]] std::uint64_t response_body_bytes() const override { return client_.response_body_bytes(); }
  rt::Task<Result<http::UpgradedStream>> upgrade(http::ResponseHead& head) override;
  void abort() override { client_.abort(); }
  void close_after() override { client_.close_after(); }

 private:
  [[nodiscard]] std::optional<Error> request_too_large() const;
  // Counts what goes out; the limit is for what upstreams send.
  [[nodiscard]] std::optional<Error> response_too_large(std::uint64_t announced, std::size_t piece);
  void edit_response(http::ResponseHead& head);

  const Chain& chain_;
  http::Exchange& client_;
  sense::RouteCounters& counters_;
  Facts facts_;
  bool by_tls_;
  bool edited_ = false;            // the response has had its edits
  std::optional<Admission> rate_;  // what the limit said
  std::string_view location_;      // of a redirect that is being sent
  bool responding_ = false;        // the fixed response is being sent
  std::size_t late_fields_ = 0;    // FieldEdits::apply
  std::optional<std::size_t> sticky_position_;
  std::optional<std::size_t> upstream_position_;
  std::uint64_t response_bytes_ = 0;
};

}  // namespace dao::flow
