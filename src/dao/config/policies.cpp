#include "dao/config/policies.h"

#include <algorithm>
#include <array>

#include "dao/config/names.h"

namespace dao::config {
namespace {

constexpr ResonantWeights kUsual{};

constexpr std::array kBuiltIn = {
    BuiltInPolicy{"round-robin", Policy::round_robin, kUsual, "in turn, in proportion to the weights"},
    BuiltInPolicy{"random", Policy::random, kUsual, "at random, in proportion to the weights"},
    BuiltInPolicy{"least-connections", Policy::least_connections, kUsual,
                  "the one with the fewest requests in progress, in proportion to the weights"},
    BuiltInPolicy{"resonant", Policy::resonant, kUsual,
                  "the one with the smallest score of latency, errors, queue, intent and steadiness, with the weights "
                  "0.6, 0.3 and 0.1 of [policies.NAME]"},
    BuiltInPolicy{"optimize-for-latency",
                  Policy::resonant,
                  {.load = 0.85, .intent = 0.15, .tempo = 0},
                  "as resonant with w_load 0.85, w_intent 0.15, w_tempo 0: the fastest answer now"},
    BuiltInPolicy{"optimize-for-throughput",
                  Policy::resonant,
                  {.load = 0.5, .intent = 0.1, .tempo = 0.4},
                  "as resonant with w_load 0.5, w_intent 0.1, w_tempo 0.4: steady rates before the last millisecond"},
};

}  // namespace

std::span<const BuiltInPolicy> built_in_policies() {
  return kBuiltIn;
}

std::optional<PolicyChoice> find_policy(std::string_view name, std::span<const PolicyDraft> own) {
  if (const auto* found = std::ranges::find(kBuiltIn, name, &BuiltInPolicy::name); found != kBuiltIn.end()) {
    return PolicyChoice{.kind = found->kind, .weights = found->weights, .name = std::string(name)};
  }
  const auto found = std::ranges::find(own, name, &PolicyDraft::name);
  if (found == own.end()) return std::nullopt;
  return PolicyChoice{.kind = Policy::resonant, .weights = found->weights, .name = std::string(name)};
}

Parsed<std::string> parse_policy_name(std::string_view text) {
  const bool fits = !text.empty() && text.size() <= 128 &&
                    std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
  if (!fits) {
    return std::unexpected(Problem{.message = in_quotes(text) + " cannot be the name of a policy",
                                   .expected = R"(1 to 128 letters, digits, "-", "_" and ".")"});
  }
  if (std::ranges::find(kBuiltIn, text, &BuiltInPolicy::name) != kBuiltIn.end()) {
    return std::unexpected(Problem{.message = in_quotes(text) + " is the name of a policy that comes with DAO",
                                   .expected = "a name of its own"});
  }
  return std::string(text);
}

}  // namespace dao::config
