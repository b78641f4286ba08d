#include "behaviour.h"

#include <fmt/format.h>

#include <charconv>

namespace dao::fault {

namespace {

template <class Number>
bool parse(std::string_view text, Number least, Number most, Number& into) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most)) return false;
  into = value;
  return true;
}

bool parse_flag(std::string_view text, bool& into) {
  if (text != "0" && text != "1") return false;
  into = text == "1";
  return true;
}

bool parse_stage(std::string_view text, bool accept_too, Stage& into) {
  if (text == "none") {
    into = Stage::none;
  } else if (text == "accept" && accept_too) {
    into = Stage::accept;
  } else if (text == "head") {
    into = Stage::head;
  } else if (text == "mid_head") {
    into = Stage::mid_head;
  } else if (text == "body") {
    into = Stage::body;
  } else {
    return false;
  }
  return true;
}

bool parse_interim(std::string_view text, Behaviour& behaviour) {
  behaviour.interim_count = 0;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(one.size() < text.size() ? one.size() + 1 : text.size());
    if (behaviour.interim_count == Behaviour::kInterimMax) return false;
    if (!parse<std::uint16_t>(one, 100, 199, behaviour.interim[behaviour.interim_count++])) return false;
  }
  return true;
}

constexpr double kMaxMs = 3.6e6;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 40U;

struct Parameter {
  std::string_view name;
  std::string_view values;
  std::string_view help;
  bool (*set)(Behaviour&, std::string_view);
};

constexpr Parameter kParameters[] = {
    {"status", "200..599", "the answer's status",
     [](Behaviour& b, std::string_view v) { return parse(v, 200U, 599U, b.status); }},
    {"delay_ms", "MS", "wait before answering",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, kMaxMs, b.delay_ms); }},
    {"delay_exp_ms", "MS", "wait an exponential time of this mean, too",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, kMaxMs, b.delay_exp_ms); }},
    {"delay_factor", "0..1000", "both delays times this: one instance slower than the others",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, 1000.0, b.delay_factor); }},
    {"cold_start_ms", "MS", "both delays are longer after the start, evenly less so until this time is over",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, kMaxMs, b.cold_start_ms); }},
    {"cold_start_factor", "1..1000", "how much longer at first (default 10)",
     [](Behaviour& b, std::string_view v) { return parse(v, 1.0, 1000.0, b.cold_start_factor); }},
    {"size", "BYTES", "of the body; lines of 64 bytes",
     [](Behaviour& b, std::string_view v) {
       std::uint64_t size = 0;
       if (!parse(v, std::uint64_t{0}, kMaxBytes, size)) return false;
       b.size = size;
       return true;
     }},
    {"chunked", "0|1", "chunked transfer coding",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.chunked); }},
    {"chunk", "BYTES", "piece of a chunked or trickled body (1..65536, default 16384)",
     [](Behaviour& b, std::string_view v) { return parse(v, 1U, 65536U, b.chunk); }},
    {"trickle_ms", "MS", "wait after each piece of the body",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, kMaxMs, b.trickle_ms); }},
    {"hang", "head|mid_head|body", "stop answering there until the client goes away",
     [](Behaviour& b, std::string_view v) { return parse_stage(v, false, b.hang); }},
    {"reset", "accept|head|mid_head|body", "reset the connection there (accept: only as a default of the server)",
     [](Behaviour& b, std::string_view v) { return parse_stage(v, true, b.reset); }},
    {"close", "head|mid_head|body", "close the connection there",
     [](Behaviour& b, std::string_view v) { return parse_stage(v, false, b.close); }},
    {"garbage", "0|1", "answer with what is not HTTP, and close",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.garbage); }},
    {"interim", "STATUS,...", "interim answers first (100..199, at most 16; 103 with a Link field)",
     [](Behaviour& b, std::string_view v) { return parse_interim(v, b); }},
    {"interim_flood", "N", "that many interim answers 103 first",
     [](Behaviour& b, std::string_view v) {
       return parse(v, std::uint64_t{0}, std::uint64_t{1'000'000}, b.interim_flood);
     }},
    {"early", "0|1", "answer before reading the request's body",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.early); }},
    {"no_length", "0|1", "no framing: the body ends with the connection",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.no_length); }},
    {"header_flood_bytes", "BYTES", "filler fields of about that size in the answer's head (at most 67108864)",
     [](Behaviour& b, std::string_view v) {
       return parse(v, std::uint64_t{0}, std::uint64_t{1} << 26U, b.header_flood_bytes);
     }},
    {"trailers", "0|1", "chunked, with trailer fields X-Trailer and X-Body-Bytes",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.trailers); }},
    {"keep_alive", "0|1", "0: Connection: close",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.keep_alive); }},
    {"fail_rate", "0..1", "share of requests answered with fail_status instead",
     [](Behaviour& b, std::string_view v) { return parse(v, 0.0, 1.0, b.fail_rate); }},
    {"fail_status", "200..599", "default 500",
     [](Behaviour& b, std::string_view v) { return parse(v, 200U, 599U, b.fail_status); }},
    {"fail_at_once", "0|1", "such an answer comes at once: no delay, no wait for a slot",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.fail_at_once); }},
    {"echo", "0|1", "the request's body comes back as it arrives (read while you send)",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.echo); }},
    {"inspect", "0|1", "the answer is JSON: the request's head, body size, trailers; with echo=1 its first 64 KiB, too",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.inspect); }},
    {"notice_close", "0|1", "a client that closes its side ends the delay (without: only one that resets)",
     [](Behaviour& b, std::string_view v) { return parse_flag(v, b.notice_close); }},
};

}  // namespace

std::expected<void, std::string> set_parameter(Behaviour& behaviour, std::string_view key, std::string_view value) {
  for (const Parameter& parameter : kParameters) {
    if (parameter.name != key) continue;
    if (parameter.set(behaviour, value)) return {};
    return std::unexpected(fmt::format("parameter {}: expected {}, got '{}'", key, parameter.values, value));
  }
  return std::unexpected(fmt::format("unknown parameter '{}'", key));
}

std::expected<void, std::string> apply_query(Behaviour& behaviour, std::string_view query) {
  return for_each_parameter(
      query, [&](std::string_view key, std::string_view value) { return set_parameter(behaviour, key, value); });
}

std::string parameter_help() {
  std::string text;
  for (const Parameter& parameter : kParameters) {
    text += fmt::format("  {:<40}{}\n", fmt::format("{}={}", parameter.name, parameter.values), parameter.help);
  }
  return text;
}

}  // namespace dao::fault
