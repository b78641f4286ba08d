#include "show.h"

#include <fmt/format.h>

#include <cstdio>

#include "exit_status.h"

namespace dao {

using nlohmann::json;

int tell(std::string_view problem, int status) {
  fmt::print(stderr, "daoctl: {}\n", problem);
  return status;
}

int show(const std::expected<json, ApiFailure>& answer, bool as_json,
         const std::function<std::string(const json&)>& render) {
  if (!answer) {
    const bool unreachable = answer.error().kind == ApiFailure::Kind::unreachable;
    return tell(answer.error().message, unreachable ? kUnreachable : kFailed);
  }
  std::string text;
  try {
    text = as_json ? answer->dump(2) + "\n" : render(*answer);
  } catch (const json::exception& odd) {
    return tell(fmt::format("DAO's answer is not what this daoctl understands: {}", odd.what()), kFailed);
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return tell("cannot write the answer", kFailed);
  }
  return kSuccess;
}

}  // namespace dao
