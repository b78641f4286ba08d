#include "dao/config/presence_keys.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "dao/config/draft.h"
#include "dao/config/match_values.h"
#include "dao/config/schema_rows.h"

namespace dao::config {
namespace {

constexpr Range kWait = {10, 3'600'000};

constexpr std::array kProbeTypes = {
    Named<ProbeType>{"off", ProbeType::off, "only an upstream that is absent is probed, by connecting to it"},
    Named<ProbeType>{
        "http", ProbeType::http,
        "a GET over HTTP/1.1, over TLS if the upstream has TLS; not for an upstream that speaks nothing but "
        "HTTP/2"},
    Named<ProbeType>{"tcp", ProbeType::tcp, "a connection is made and closed"},
};

Parsed<std::string> parse_probe_path(std::string_view text) {
  const bool good = text.starts_with('/') && text.size() <= 1024 &&
                    std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != '#'; });
  if (!good) return std::unexpected(Problem{in_quotes(text) + " is not a path", R"(a path starting with "/")"});
  return std::string(text);
}

Parsed<std::string> parse_probe_host(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 255 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_' || c == ':' || c == '[' || c == ']';
  });
  if (!good) return std::unexpected(Problem{in_quotes(text) + " is not a host", "a host name, with or without a port"});
  return std::string(text);
}

Parsed<std::string> parse_probe_body(std::string_view text) {
  if (text.size() > 1024) return std::unexpected(Problem{"the text is too long", "at most 1024 bytes"});
  return std::string(text);
}

Parsed<StatusRange> parse_status_range(std::string_view text) {
  const Problem problem{in_quotes(text) + " is not a range of status codes",
                        R"(a code from 200 to 599 or two with "-" between, like "200-399")"};
  const auto parse = [](std::string_view digits) -> std::uint16_t {
    std::uint16_t code = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    return whole && code >= 200 && code <= 599 ? code : 0;
  };
  const std::size_t dash = text.find('-');
  const std::uint16_t first = parse(text.substr(0, dash));
  const std::uint16_t last = dash == std::string_view::npos ? first : parse(text.substr(dash + 1));
  if (first == 0 || last == 0 || first > last) return std::unexpected(problem);
  return StatusRange{first, last};
}

}  // namespace

Table presence_table() {
  Table table{.name = "presence",
              .doc =
                  "How DAO finds out which upstreams are well, and keeps requests from those that are not. The "
                  "defaults are meant to be left alone; docs/presence.md tells how they work together."};
  table.enter = [](void* liminal) -> void* { return &field_of<&Liminal::presence>(liminal); };
  table.keys = {
      boolean<&Presence::enabled>("enabled", true,
                                  "Without it every upstream is asked whatever came of it, and none is probed."),
      integer<&Presence::history>("history", 20, {5, 64}, "", "How many outcomes the verdict rests on."),
      integer<&Presence::present_percent>("present_percent", 80, {1, 100}, "percent",
                                          "With so much of them good, an upstream is present."),
      integer<&Presence::liminal_percent>(
          "liminal_percent", 30, {1, 100}, "percent",
          "With less, an upstream that has had no success for `absent_after_ms` is absent; not more than "
          "`present_percent`."),
      integer<&Presence::absent_after>("absent_after_ms", 30'000, kWait, "ms",
                                       "How long an upstream that gives no good answer stays liminal."),
      integer<&Presence::failures>(
          "failures", 3, {1, 1000}, "",
          "So many failures of transport or timeouts without a success between them keep requests from an upstream at "
          "once, until a trial has shown that it is well. One refused connection counts as all of them."),
      integer<&Presence::trial_requests>("trial_requests", 1, {1, 1000}, "",
                                         "How many requests are let through to find out whether it is back."),
      integer<&Presence::trial_backoff>("trial_backoff_ms", 250, kWait, "ms",
                                        "How long after a failed trial the next one is; doubled each time."),
      integer<&Presence::trial_backoff_max>("trial_backoff_max_ms", 1500, kWait, "ms",
                                            "The longest of these waits; not less than `trial_backoff_ms`."),
      integer<&Presence::probe_backoff>("probe_backoff_ms", 250, kWait, "ms",
                                        "How long after a failed probe of an absent upstream the next one is; doubled "
                                        "each time."),
      integer<&Presence::probe_backoff_max>("probe_backoff_max_ms", 1500, kWait, "ms",
                                            "The longest of these waits; not less than `probe_backoff_ms`."),
      integer<&Presence::probes_max>("probes_max", 64, {1, 10'000}, "",
                                     "How many probes are under way at once; others wait for their turn."),
  };
  return table;
}

Table probe_table() {
  Table table{.name = "probe",
              .doc =
                  "How the upstream is probed while it is well, and when it is absent. Wherever the upstream is "
                  "named, these keys are the same."};
  table.enter = [](void* upstream) -> void* { return &field_of<&UpstreamDraft::probe>(upstream); };
  Key path =
      text<parse_probe_path, &Probe::path>("path", R"(a path starting with "/")", "What an HTTP probe asks for.");
  path.fallback = std::string_view("/");
  path.example = "\"/health\"";
  Key host = text<parse_probe_host, &Probe::host>("host", "a host name, with or without a port",
                                                  "The `Host` of an HTTP probe.");
  host.absent = "the host of the URL";
  host.example = "\"api.internal\"";
  Key status = text<parse_status_range, &Probe::expect_status>("expect_status", R"("200" or "200-399")",
                                                               "The status codes of a good answer.");
  status.fallback = std::string_view("200-399");
  status.pattern = "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$";
  Key body = text<parse_probe_body, &Probe::expect_body>(
      "expect_body", "any text", "What the first 64 KiB of the body of a good answer contain; empty = anything.");
  body.fallback = std::string_view("");
  body.example = "\"ready\"";
  table.keys = {
      choice<kProbeTypes, &Probe::type>("type", "off", "What a probe does."),
      path,
      host,
      integer<&Probe::interval>("interval_ms", 5000, {100, 3'600'000}, "ms",
                                "The time from one probe to the next while the upstream is well."),
      integer<&Probe::timeout>("timeout_ms", 1000, kWait, "ms", "How long one probe may take."),
      integer<&Probe::jitter_percent>("jitter_percent", 20, {0, 100}, "percent",
                                      "Each wait is shortened by a random part, at most so much, so that the probes of "
                                      "many upstreams and nodes do not come together."),
      integer<&Probe::rise>("rise", 2, {1, 100}, "", "So many good probes in a row bring an absent upstream back."),
      integer<&Probe::fall>("fall", 3, {1, 100}, "", "So many failed probes in a row make it absent."),
      status,
      body,
  };
  return table;
}

}  // namespace dao::config
