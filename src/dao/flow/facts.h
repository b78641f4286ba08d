// What the texts with variables of one exchange speak of. Lives as long as the exchange; one thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "dao/base/random.h"
#include "dao/config/filters.h"
#include "dao/flow/client_address.h"
#include "dao/http/head.h"

namespace dao::flow {

class Facts {
 public:
  Facts(const http::RequestHead& request, Random& random)
      : request(request), random_(random), received_(request.path) {}

  const http::RequestHead& request;
  ClientAddress client;
  std::uint16_t client_port = 0;
  std::string_view scheme;
  std::string_view route;
  std::string_view intent;
  std::string_view split;                        // the name of the group; empty: none
  std::string_view upstream;                     // empty: none is chosen
  std::string_view upstream_host;                // as in Host
  std::uint16_t status = 0;                      // 0: there is no response yet
  std::span<const std::string_view> captures{};  // while a regular expression is replaced

  // The path as it was received, without its query.
  [[nodiscard]] std::string_view path() const { return received_.substr(0, received_.find('?')); }
  [[nodiscard]] std::string_view query() const;  // without "?"
  [[nodiscard]] std::string_view host() const;   // without port

  // The value of one piece; lives as long as the exchange. Not a literal: that needs no facts.
  std::string_view value_of(const config::TextPiece& piece);

 private:
  std::string_view request_id();

  Random& random_;
  std::string_view received_;
  std::array<char, 8> port_digits_{};
  std::array<char, 8> status_digits_{};
  std::array<char, 32> request_id_{};
  bool has_request_id_ = false;
};

// The whole text: without copying, if it is one piece, else in `arena`.
std::string_view render(const config::TextTemplate& text, Facts& facts, http::Arena& arena);

}  // namespace dao::flow
