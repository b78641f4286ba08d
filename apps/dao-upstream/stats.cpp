#include "stats.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "dao/base/json_text.h"

namespace dao::fault {

void Stats::add(const Stats& other) {
  connections += other.connections;
  connections_open += other.connections_open;
  connections_reset_at_accept += other.connections_reset_at_accept;
  requests += other.requests;
  requests_malformed += other.requests_malformed;
  requests_failed += other.requests_failed;
  requests_aborted += other.requests_aborted;
  requests_cut += other.requests_cut;
  request_body_bytes += other.request_body_bytes;
  response_body_bytes += other.response_body_bytes;
  busy += other.busy;
  queued += other.queued;
  queued_max = std::max(queued_max, other.queued_max);
  for (std::size_t i = 0; i < answers.size(); ++i) answers[i] += other.answers[i];
}

void Stats::reset() {
  const std::uint64_t open = connections_open;
  *this = Stats{};
  connections_open = open;
}

std::string Stats::json(std::string_view name) const {
  nlohmann::ordered_json json;
  json["name"] = name;
  json["connections"] = connections;
  json["connections_open"] = connections_open;
  json["connections_reset_at_accept"] = connections_reset_at_accept;
  json["requests"] = requests;
  json["requests_malformed"] = requests_malformed;
  json["requests_failed"] = requests_failed;
  json["requests_aborted"] = requests_aborted;
  json["requests_cut"] = requests_cut;
  json["request_body_bytes"] = request_body_bytes;
  json["response_body_bytes"] = response_body_bytes;
  json["busy"] = busy;
  json["queued"] = queued;
  json["queued_max"] = queued_max;
  for (std::size_t i = 1; i < answers.size(); ++i) json["answers"][std::to_string(i) + "xx"] = answers[i];
  return json_text(json) + "\n";
}

}  // namespace dao::fault
