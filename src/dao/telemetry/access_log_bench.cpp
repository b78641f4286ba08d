// What the access log costs per line. The CPU column of `through_the_writer` counts the whole process, so it holds both
// the worker's part and the writer thread's, with its write() calls to a file in the temporary directory.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "dao/telemetry/access_log.h"

namespace dao::telemetry {
namespace {

RequestRecord typical_record() {
  return {.start = WallTime{std::chrono::seconds{1795404060}},
          .duration_ns = 812'345,
          .client_address = "192.0.2.123",
          .client_port = 41234,
          .method = "GET",
          .target = "/api/v1/items/4711?fields=name,price&page=2",
          .host = "shop.example.com",
          .protocol = "HTTP/1.1",
          .status = 200,
          .response_bytes = 5120,
          .route = "items",
          .upstream = "items-1",
          .upstream_address = "10.0.0.17:8080",
          .head_ns = 640'000,
          .attempts = 1,
          .reused = true,
          .user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"};
}

AccessLogFormat format_of(const benchmark::State& state) {
  return state.range(0) == 0 ? AccessLogFormat::json : AccessLogFormat::combined;
}

void format_line(benchmark::State& state) {
  AccessLogFormatter formatter{format_of(state)};
  const RequestRecord record = typical_record();
  std::vector<char> line(AccessLogFormatter::max_size(record));
  std::size_t size = 0;
  for (auto _ : state) {
    size = static_cast<std::size_t>(formatter.format(record, line.data()) - line.data());
    benchmark::DoNotOptimize(line.data());
    benchmark::ClobberMemory();
  }
  state.counters["bytes_per_line"] = static_cast<double>(size);
}
BENCHMARK(format_line)->ArgName("combined")->Arg(0)->Arg(1);

void through_the_writer(benchmark::State& state) {
  constexpr int kBatch = 1000;  // lines, less than half a ring
  std::string pattern = (std::filesystem::temp_directory_path() / "dao-access-log-bench-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  const std::filesystem::path path = directory / "access.log";
  auto log = AccessLog::open({.path = path.string(), .format = format_of(state)});
  if (!log) {
    state.SkipWithError("cannot open the log");
    return;
  }
  const RequestRecord record = typical_record();
  int batch = 0;
  for (auto _ : state) {
    for (int i = 0; i < kBatch; ++i) (*log)->lane(0).write(record);
    (*log)->flush(std::chrono::seconds{10});
    if (++batch % 32 == 0) {  // a small file: the page cache must not grow into memory never used before
      state.PauseTiming();
      std::filesystem::resize_file(path, 0);
      state.ResumeTiming();
    }
  }
  using benchmark::Counter;
  state.counters["cpu_per_line"] =
      Counter(static_cast<double>(state.iterations()) * kBatch, Counter::kIsRate | Counter::kInvert);
  state.counters["dropped"] = static_cast<double>((*log)->dropped());
  log->reset();
  std::filesystem::remove_all(directory);
}
BENCHMARK(through_the_writer)->ArgName("combined")->Arg(0)->Arg(1)->Iterations(2000)->MeasureProcessCPUTime();

}  // namespace
}  // namespace dao::telemetry
