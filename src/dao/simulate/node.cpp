#include "dao/simulate/node.h"

#include <fmt/format.h>

#include "dao/align/stable_hash.h"
#include "dao/config/load.h"
#include "dao/config/policies.h"
#include "dao/config/problem.h"

namespace dao::simulate {

std::vector<std::string> all_policies() {
  std::vector<std::string> names;
  for (const config::BuiltInPolicy& policy : config::built_in_policies()) names.emplace_back(policy.name);
  return names;
}

std::expected<std::shared_ptr<const config::Config>, std::string> make_config(const Scenario& scenario,
                                                                              std::string_view policy) {
  std::string text = "[proxy]\n";
  if (scenario.retries) text += fmt::format("retries = {}\n", *scenario.retries);
  if (scenario.first_byte_timeout > Nanoseconds::zero()) {
    text += fmt::format("first_byte_timeout_ms = {}\n",
                        std::chrono::duration_cast<Milliseconds>(scenario.first_byte_timeout).count());
  }
  text += fmt::format("[[routes.rule]]\nname = \"simulated\"\npolicy = {}\n", config::in_quotes(policy));
  constexpr int kFirstPort = 1024;
  for (std::size_t i = 0; i < scenario.backends.size(); ++i) {
    text += fmt::format("[[routes.rule.upstreams]]\nname = \"{}\"\nurl = \"http://192.0.2.1:{}\"\nweight = {}\n",
                        scenario.backends[i].name, kFirstPort + i, scenario.backends[i].weight);
  }
  auto loaded = config::load_text(text, scenario.name);
  if (!loaded) {
    const config::Diagnostic& first = loaded.error().front();
    return std::unexpected(first.message + (first.expected.empty() ? "" : " (" + first.expected + ")"));
  }
  return std::make_shared<const config::Config>(std::move(loaded->config));
}

Worker::Worker(const config::Config& config, Instant now, std::uint64_t seed)
    : policy(align::make_policy(config.rules.front().policy)),
      slow_start(config.rules.front().slow_start),
      signals(config.upstreams.size()),
      shard(config.rules.size(), config.upstreams.size()),
      retry_budget(config.proxy.retry_budget_percent, config.proxy.retry_budget_min_per_second, now),
      random(seed) {
  for (const config::RuleUpstream& upstream : config.rules.front().upstreams) {
    candidates.push_back({.upstream = static_cast<std::uint32_t>(upstream.index),
                          .weight = upstream.weight,
                          .identity = align::stable_hash(config.upstreams[upstream.index].name)});
  }
  policy->prepare(candidates);
}

Node::Node(const std::shared_ptr<const config::Config>& config, std::size_t worker_count, Instant now,
           std::uint64_t seed)
    : in_flight(config->upstreams.size()),
      admission(config->upstreams.size()),
      view(std::make_shared<const sense::View>()) {
  std::vector<const sense::Shard*> shards;
  for (std::size_t i = 0; i < worker_count; ++i) {
    workers.push_back(std::make_unique<Worker>(*config, now, seed + i));
    shards.push_back(&workers.back()->shard);
  }
  mind = std::make_unique<liminal::Mind>(
      config, liminal::Mind::Senses{.shards = std::move(shards), .in_flight = in_flight, .admission = admission});
}

std::optional<std::size_t> choose(Node& node, Worker& worker, std::span<const std::uint32_t> tried, std::uint64_t key,
                                  Instant now) {
  for (const std::uint32_t one : tried) worker.candidates[one].usable = false;
  align::Choosing choosing{.candidates = worker.candidates,
                           .in_flight = node.in_flight,
                           .admission = node.admission,
                           .signals = worker.signals,
                           .view = *node.view,
                           .now = now,
                           .random = worker.random,
                           .key = key,
                           .slow_start = worker.slow_start.at(now, *node.view, worker.candidates)};
  std::optional<std::size_t> choice;
  do {
    choice = worker.policy->choose(choosing);
  } while (choice && !node.admission.enter(worker.candidates[*choice].upstream));
  if (!choice && tried.empty()) {
    choosing.fail_open = true;
    choice = worker.policy->choose(choosing);
  }
  for (const std::uint32_t one : tried) worker.candidates[one].usable = true;
  return choice;
}

}  // namespace dao::simulate
