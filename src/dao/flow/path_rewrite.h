// The path that the upstream is asked for. Belongs to one worker: RE2 builds its automaton while it is used.
#pragma once

#include <memory>

#include "dao/config/filters.h"
#include "dao/flow/facts.h"
#include "dao/http/head.h"

namespace re2 {
class RE2;
}

namespace dao::flow {

class PathRewrite {
 public:
  // `rewrite` outlives it.
  explicit PathRewrite(const config::Rewrite& rewrite);
  ~PathRewrite();

  // Changes RequestHead::path; the query stays. The path begins with "/" in any case.
  void apply(http::RequestHead& request, Facts& facts) const;

 private:
  void replace_prefix(http::RequestHead& request, std::string_view path, std::string_view query) const;
  void replace_matches(http::RequestHead& request, std::string_view path, std::string_view query, Facts& facts) const;

  const config::Rewrite& rewrite_;
  std::unique_ptr<re2::RE2> regex_;
};

}  // namespace dao::flow
