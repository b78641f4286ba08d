#include "dao/memory/learned_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "dao/base/json_text.h"

namespace dao::memory {
namespace {

using Json = nlohmann::json;
using Detector = liminal::PresenceDetector;

constexpr int kVersion = 1;
constexpr std::array<std::string_view, 4> kCauses = {"none", "connect", "traffic", "probes"};

// No older than this, so that sums of ages do not overflow.
constexpr double kLongestMs = 1000.0 * 365 * 86'400'000;

std::int64_t milliseconds(Nanoseconds age) {
  return std::chrono::duration_cast<Milliseconds>(age).count();
}

Json parse(std::string_view text) {
  Json json = parse_json(text);
  if (!json.is_object()) return {};
  const auto version = json.find("v");
  return version != json.end() && version->is_number_integer() && *version == kVersion ? json : Json{};
}

std::optional<double> number(const Json& json, double least, double most) {
  if (!json.is_number()) return std::nullopt;
  const auto value = json.get<double>();
  return value >= least && value <= most ? std::optional(value) : std::nullopt;
}

const Json& member(const Json& json, const char* name) {
  static const Json none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

std::optional<Nanoseconds> age(const Json& json, const char* name) {
  const auto value = number(member(json, name), 0, kLongestMs);
  return value ? std::optional<Nanoseconds>(Milliseconds(static_cast<std::int64_t>(*value))) : std::nullopt;
}

template <class E, std::size_t N>
std::optional<E> named(const Json& json, const std::array<std::string_view, N>& names) {
  if (!json.is_string()) return std::nullopt;
  const auto found = std::ranges::find(names, json.get_ref<const std::string&>());
  return found == names.end() ? std::nullopt : std::optional(static_cast<E>(found - names.begin()));
}

bool is_mean(char sign) {
  return sign >= '0' && sign <= '9';
}

// A pair of numbers, [first, second].
std::optional<std::array<double, 2>> pair(const Json& json, double most_first, double most_second) {
  if (!json.is_array() || json.size() != 2) return std::nullopt;
  const auto first = number(json[0], 0, most_first);
  const auto second = number(json[1], 0, most_second);
  return first && second ? std::optional(std::array{*first, *second}) : std::nullopt;
}

bool read_history(const Json& json, Detector::State& into) {
  constexpr double kHeaviest = 100;
  const Json& history = member(json, "history");
  const Json& means = member(json, "means");
  if (!history.is_string() || !means.is_array()) return false;
  const auto& signs = history.get_ref<const std::string&>();
  if (signs.size() > into.history.size()) return false;
  std::size_t next_mean = 0;
  for (const char sign : signs) {
    Detector::Entry& entry = into.history[into.entries++];
    if (is_mean(sign)) {
      if (next_mean == means.size()) return false;
      const auto mean = pair(means[next_mean++], 1, kHeaviest);
      if (!mean) return false;
      entry = {.good = static_cast<float>((*mean)[0]), .bad = static_cast<float>((*mean)[1]), .sign = sign};
    } else if (const auto known = Detector::entry_of(sign)) {
      entry = *known;
    } else {
      return false;
    }
  }
  return true;
}

std::optional<sense::Typical::State> typical(const Json& json, const char* name) {
  constexpr double kMost = 1e15;
  const auto values = pair(member(json, name), kMost, kMost);
  if (!values) return std::nullopt;
  return sense::Typical::State{.value = (*values)[0], .told = static_cast<std::uint64_t>((*values)[1])};
}

}  // namespace

std::string to_text(const Detector::State& state) {
  std::string text = fmt::format(
      R"({{"v":{},"presence":"{}","cause":"{}","away":{},"in_state_ms":{},"since_success_ms":{},"history":")", kVersion,
      sense::name_of(state.presence), kCauses[static_cast<std::size_t>(state.cause)], state.kept_away,
      milliseconds(state.in_this_state), milliseconds(state.since_success));
  for (std::size_t i = 0; i < state.entries; ++i) text.push_back(state.history[i].sign);
  text += R"(","means":[)";
  bool first = true;
  for (std::size_t i = 0; i < state.entries; ++i) {
    const Detector::Entry& entry = state.history[i];
    if (!is_mean(entry.sign)) continue;
    text += fmt::format("{}[{},{}]", first ? "" : ",", entry.good, entry.bad);
    first = false;
  }
  return text + "]}";
}

std::string to_text(const sense::RouteLearned& learned) {
  return fmt::format(R"({{"v":{},"latency_ms":[{},{}],"in_flight":[{},{}],"error_rate":[{},{}]}})", kVersion,
                     learned.latency_ms.value, learned.latency_ms.told, learned.in_flight.value, learned.in_flight.told,
                     learned.error_rate.value, learned.error_rate.told);
}

std::optional<Detector::State> presence_of_text(std::string_view text) {
  const Json json = parse(text);
  const auto presence = named<sense::Presence>(member(json, "presence"), sense::kPresenceNames);
  const auto cause = named<Detector::Cause>(member(json, "cause"), kCauses);
  const auto in_state = age(json, "in_state_ms");
  const auto since_success = age(json, "since_success_ms");
  const Json& away = member(json, "away");
  if (!presence || !cause || !in_state || !since_success || !away.is_boolean()) return std::nullopt;
  Detector::State state{.presence = *presence,
                        .cause = *cause,
                        .kept_away = away.get<bool>(),
                        .in_this_state = *in_state,
                        .since_success = *since_success};
  if (!read_history(json, state)) return std::nullopt;
  return state;
}

std::optional<sense::RouteLearned> route_of_text(std::string_view text) {
  const Json json = parse(text);
  const auto latency = typical(json, "latency_ms");
  const auto in_flight = typical(json, "in_flight");
  const auto errors = typical(json, "error_rate");
  if (!latency || !in_flight || !errors) return std::nullopt;
  return sense::RouteLearned{.latency_ms = *latency, .in_flight = *in_flight, .error_rate = *errors};
}

bool is_gone(std::string_view text) {
  // It is rare, and to read the text as JSON is not cheap.
  if (text.find(R"("gone")") == std::string_view::npos) return false;
  return member(parse(text), "gone") == true;
}

std::string marked_gone(std::string_view text) {
  Json json = parse(text);
  if (!json.is_object()) return {};
  json["gone"] = true;
  return json_text(json);
}

}  // namespace dao::memory
