// Writes to a store until it is killed, and says on standard output what it did, each line in one write, with the
// monotonic time in nanoseconds. README.md tells what the campaign makes of it.
//
//   store_writer PATH [FLUSH_INTERVAL_MS [PUTS_PER_SNAPSHOT]]
//
//   opened KIND NUMBER COUNT TIME  the store is open; the newest snapshot that was applied, and the value of "count" in
//   it put N TIME                     the N-th put: "count" and the keys of key_of(N, i) all have N now added NUMBER N
//   TIME            a snapshot; its text is text_of(N), its outcome "running", then "applied" durable NUMBER TIME the
//   store said that this snapshot and its outcome are on disk status HEALTHY PENDING LOST TIME flush failed TIME the
//   store said "not yet"
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "dao/memory/open_store.h"
#include "dao/memory/store.h"

namespace {

using namespace dao;  // NOLINT(google-build-using-namespace): one small program

constexpr std::uint64_t kKeys = 1000;
constexpr std::uint64_t kKeysOfPut = 4;
constexpr std::size_t kValueBytes = 300;

std::string key_of(std::uint64_t put, std::uint64_t i) {
  return fmt::format("key/{}", (put * 7919 + i * 104'729) % kKeys);
}

std::string value_of(std::uint64_t put) {
  std::string value = fmt::format("{} ", put);
  value.resize(kValueBytes, '.');
  return value;
}

// Every tenth is large, so that there is much to be interrupted in.
std::string text_of(std::uint64_t count) {
  std::string text = fmt::format("# after put {}\n", count);
  text.resize(count % 10 == 0 ? 300'000 : 2000, '#');
  return text;
}

void say(const std::string& what) {
  const std::string line = fmt::format("{} {}\n", what, std::chrono::steady_clock::now().time_since_epoch().count());
  if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
}

void put(memory::Store& store, std::uint64_t count, WallTime now) {
  std::vector<memory::StateEntry> entries = {{"count", std::to_string(count), now}};
  for (std::uint64_t i = 0; i < kKeysOfPut; ++i) entries.push_back({key_of(count, i), value_of(count), now});
  store.put(std::move(entries));
  say(fmt::format("put {}", count));
}

void add_snapshot(memory::Store& store, std::uint64_t count, WallTime now) {
  const std::uint64_t number = store.add_snapshot(
      {.applied_at = now, .author = "campaign", .outcome = std::string(memory::kRunning), .text = text_of(count)});
  say(fmt::format("added {} {}", number, count));
  store.set_outcome(number, std::string(memory::kApplied));
  if (store.flush(std::chrono::seconds(10)) == memory::Kept::on_disk) {
    say(fmt::format("durable {}", number));
  } else {
    say("flush failed");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const SystemClock clock;
  config::Memory settings{.path = argv[1]};
  if (argc > 2) settings.flush_interval = Milliseconds(std::atoi(argv[2]));
  const std::uint64_t puts_per_snapshot = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 45;
  const auto store = memory::open_store(settings, clock, false);
  const auto stored = store->get("count");
  const auto applied = memory::last_applied(*store);
  if (!stored || !applied) return 3;
  std::uint64_t count = *stored ? std::strtoull((*stored)->value.c_str(), nullptr, 10) : 0;
  say(fmt::format("opened {} {} {}", store->status().kind, *applied ? (*applied)->number : 0, count));

  for (std::uint64_t puts = 1;; ++puts) {
    put(*store, ++count, clock.wall_now());
    if (puts % puts_per_snapshot == 0) {
      add_snapshot(*store, count, clock.wall_now());
      const memory::StoreStatus status = store->status();
      say(fmt::format("status {} {} {}", status.healthy ? 1 : 0, status.pending, status.lost));
    }
    std::this_thread::sleep_for(Milliseconds(2));
  }
}
