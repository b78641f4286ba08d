// What a check finds, by the key it is about; where that stands is looked up at the end (config/locate.h).
#pragma once

#include <string>
#include <utility>

#include "dao/config/load.h"

namespace dao::check {

inline void add(config::Diagnostics& to, config::Severity severity, std::string key, std::string message,
                std::string expected = {}) {
  config::Diagnostic& added = to.emplace_back();
  added.severity = severity;
  added.key = std::move(key);
  added.message = std::move(message);
  added.expected = std::move(expected);
}

}  // namespace dao::check
