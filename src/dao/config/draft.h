// A config while it is being loaded: what the schema's rows fill in, before the checks that look across several keys.
#pragma once

#include <string>
#include <vector>

#include "dao/config/config.h"

namespace dao::config {

struct PolicyDraft {
  std::string name;
  ResonantWeights weights;
};

struct UpstreamDraft {
  std::string name;  // empty if it was refused
  Url url;           // its text is empty if it was refused
  std::uint32_t weight = 1;
  std::vector<std::string> intents;
  UpstreamTls tls;
  ProxyAnnouncement proxy_protocol = ProxyAnnouncement::off;
  Probe probe;
  std::string zone;
  std::uint32_t max_in_flight = 0;
};

struct RuleDraft {
  Rule rule;  // without its policy, intent and upstreams
  std::string policy;
  std::string intent;
  std::vector<UpstreamDraft> upstreams;
};

struct Draft {
  Config config;  // without rules, upstreams and intents
  std::vector<PolicyDraft> policies;
  std::vector<RuleDraft> rules;
  std::vector<std::string> includes;  // as they are given; what they name is in the document already
};

}  // namespace dao::config
