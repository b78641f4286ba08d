// A config while it is being loaded: what the schema's rows fill in, before the checks that look across several keys.
#pragma once

#include <string>
#include <vector>

#include "dao/config/config.h"

namespace dao::config {

struct UpstreamDraft {
  std::string name;  // empty if it was refused
  Url url;           // its text is empty if it was refused
  std::uint32_t weight = 1;
  UpstreamTls tls;
  ProxyAnnouncement proxy_protocol = ProxyAnnouncement::off;
  Probe probe;
};

struct RuleDraft {
  Rule rule;  // without its upstreams
  std::vector<UpstreamDraft> upstreams;
};

struct Draft {
  Config config;  // without rules and upstreams
  std::vector<RuleDraft> rules;
};

}  // namespace dao::config
