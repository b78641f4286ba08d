#include "dao/server/config_history.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <array>
#include <utility>

#include "dao/base/log.h"

namespace dao::server {

namespace {
// What the file said when the last configuration was applied.
constexpr std::string_view kFile = "config/file";
constexpr Milliseconds kPatience{1000};
}  // namespace

std::string fingerprint(std::string_view text) {
  constexpr std::size_t kShown = 12;  // 96 bits
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  const std::string bytes(text);
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  std::string hex;
  for (std::size_t i = 0; i < kShown; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

std::optional<memory::Snapshot> ConfigHistory::to_resume(std::string_view file) const {
  const auto last = memory::last_applied(store_);
  const auto known_file = store_.get(kFile);
  if (!last || !known_file) {
    log::warning("the history of the configuration cannot be read, going by the file",
                 {{"error", last ? known_file.error() : last.error()}});
    return std::nullopt;
  }
  if (!*last || !*known_file || (*known_file)->value != fingerprint(file) || (*last)->text == file) return std::nullopt;
  return **last;
}

std::uint64_t ConfigHistory::started_with(const Applied& applied) {
  const auto last = memory::last_applied(store_);
  if (!last || !*last || (*last)->text != applied.text) return record(applied);
  confirmed(applied.file);
  return (*last)->number;
}

void ConfigHistory::confirmed(std::string_view file) {
  const std::string now = fingerprint(file);
  const auto known = store_.get(kFile);
  if (known && *known && (*known)->value == now) return;
  store_.put({{.key = std::string(kFile), .value = now, .at = clock_.wall_now()}});
  static_cast<void>(store_.flush(kPatience));
}

std::uint64_t ConfigHistory::record(const Applied& applied) {
  const std::uint64_t number = store_.add_snapshot({.applied_at = clock_.wall_now(),
                                                    .author = applied.author,
                                                    .reason = applied.reason,
                                                    .outcome = std::string(applied.outcome),
                                                    .source = applied.source,
                                                    .text = std::string(applied.text),
                                                    .changes = applied.changes});
  // After it: if the process is killed between the two, the file counts. The other way round the configuration before
  // this one would go on, as if the file had said the same then.
  store_.put({{.key = std::string(kFile), .value = fingerprint(applied.file), .at = clock_.wall_now()}});
  wait_for_disk(number);
  return number;
}

void ConfigHistory::decide(std::uint64_t snapshot, std::string outcome) {
  store_.set_outcome(snapshot, std::move(outcome));
  wait_for_disk(snapshot);
}

std::optional<std::uint64_t> ConfigHistory::give_up_unfinished() {
  const auto newest = store_.snapshots(1);
  if (!newest || newest->empty() || newest->front().outcome != memory::kRunning) return std::nullopt;
  decide(newest->front().number, "aborted: the process ended before it was decided");
  return newest->front().number;
}

void ConfigHistory::wait_for_disk(std::uint64_t snapshot) {
  if (store_.flush(kPatience) == memory::Kept::not_yet) {
    log::warning("the snapshot of the configuration is not on disk yet", {{"snapshot", snapshot}});
  }
}

}  // namespace dao::server
