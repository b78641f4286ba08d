// The names that `policy` of a rule may be: those that come with DAO, and the tables [policies.NAME] of the file.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "dao/config/config.h"
#include "dao/config/draft.h"
#include "dao/config/problem.h"

namespace dao::config {

struct BuiltInPolicy {
  std::string_view name;
  Policy kind;
  ResonantWeights weights;  // of the presets
  std::string_view doc;
};

[[nodiscard]] std::span<const BuiltInPolicy> built_in_policies();

// nullopt: no policy has this name.
[[nodiscard]] std::optional<PolicyChoice> find_policy(std::string_view name, std::span<const PolicyDraft> own);

// The NAME of [policies.NAME]: what an unquoted TOML key can be, and dots; not that of a built-in policy.
[[nodiscard]] Parsed<std::string> parse_policy_name(std::string_view text);

}  // namespace dao::config
