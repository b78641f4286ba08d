// Bytes as the target of an admin request: what is accepted, encoded anew, is read the same; and nothing in it could
// forge a line of the log or a field.
#include "dao/admin/target.h"
#include "oracle.h"

using namespace dao;

namespace {

std::string encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    result += {'%', kHex[byte / 16], kHex[byte % 16]};
  }
  return result;
}

void check_text(std::string_view text) {
  for (const char c : text) {
    fuzz::check(static_cast<unsigned char>(c) >= ' ' && c != 0x7f, "no control characters");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const auto target = admin::parse_target(input);
  if (!target) return 0;
  fuzz::check(input.starts_with('/'), "origin form");
  fuzz::check(!target->path.empty(), "a path has a segment");
  std::string again;
  for (const std::string& segment : target->path) {
    check_text(segment);
    again += "/" + encoded(segment);
  }
  for (std::size_t i = 0; i < target->query.size(); ++i) {
    const auto& [name, value] = target->query[i];
    check_text(name);
    check_text(value);
    fuzz::check(target->find(name) == &target->query[i].second, "each name once");
    again += (i == 0 ? "?" : "&") + encoded(name) + "=" + encoded(value);
  }
  const auto back = admin::parse_target(again);
  fuzz::check(back && back->path == target->path && back->query == target->query, "read the same");
  return 0;
}
