#include "dao/flow/traffic_split.h"

#include <algorithm>
#include <utility>

#include "dao/flow/cookies.h"
#include "dao/flow/hash.h"

namespace dao::flow {

TrafficSplit::TrafficSplit(const config::Rule& rule) : split_(rule.split), seed_(hash(rule.name, 0)) {
  std::vector<std::uint8_t> left(rule.upstreams.size(), 1);
  for (const config::SplitGroup& group : split_.groups) {
    std::vector<std::uint8_t>& members = members_.emplace_back(rule.upstreams.size());
    for (const std::size_t position : group.members) {
      members[position] = 1;
      left[position] = 0;
    }
    total_weight_ += group.weight;
  }
  members_.push_back(std::move(left));
}

bool TrafficSplit::takes(const config::SplitGroup& group, const Facts& facts) const {
  if (!group.has_condition()) return false;
  const bool headers = std::ranges::all_of(group.headers, [&](const config::NamedValue& wanted) {
    return std::ranges::any_of(facts.request.fields, [&](const http::Field& field) {
      return !field.dropped && field.value == wanted.value && http::equals_ignoring_case(field.name, wanted.name);
    });
  });
  return headers && std::ranges::all_of(group.cookies, [&](const config::NamedValue& wanted) {
           return find_cookie(facts.request, wanted.name) == wanted.value;
         });
}

std::uint64_t TrafficSplit::point_of(const Facts& facts) const {
  std::optional<std::string_view> text;
  if (split_.by == config::Split::By::cookie) {
    text = find_cookie(facts.request, split_.name);
  } else if (split_.by == config::Split::By::header) {
    if (const http::Field* field = facts.request.find(split_.name)) text = field->value;
  }
  const std::uint64_t of_client = text ? hash(*text, seed_) : hash(facts.client.span(), seed_);
  return static_cast<std::uint64_t>((static_cast<Uint128>(of_client) * total_weight_) >> 64U);
}

TrafficSplit::Choice TrafficSplit::choose(const Facts& facts) const {
  for (std::size_t i = 0; i < split_.groups.size(); ++i) {
    if (takes(split_.groups[i], facts)) return {split_.groups[i].name, &members_[i]};
  }
  if (total_weight_ == 0) return {{}, &members_.back()};
  std::uint64_t point = point_of(facts);
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < split_.groups.size(); ++i) {
    const std::uint64_t weight = split_.groups[i].weight;
    if (point < weight) {
      chosen = i;
      break;
    }
    point -= weight;
  }
  return {split_.groups[chosen].name, &members_[chosen]};
}

}  // namespace dao::flow
