#include "dao/flow/rate_limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "dao/flow/hash.h"

namespace dao::flow {

namespace {

Rate rate_of(const config::RateLimit& limit) {
  if (limit.rps != 0) return {.requests = limit.rps, .period = std::chrono::seconds(1), .burst = limit.burst};
  return {.requests = limit.rpm, .period = std::chrono::minutes(1), .burst = limit.burst};
}

std::int64_t whole_seconds(Nanoseconds time) {
  return std::chrono::ceil<std::chrono::seconds>(time).count();
}

char* put(char* out, std::string_view text) {
  return std::ranges::copy(text, out).out;
}

char* put(char* out, std::int64_t number) {
  constexpr std::size_t kLongest = 20;
  return std::to_chars(out, out + kLongest, number).ptr;
}

}  // namespace

RateLimiter::RateLimiter(const config::RateLimit& limit, unsigned ipv6_prefix, std::uint64_t seed)
    : limit_(limit),
      ipv6_prefix_(ipv6_prefix),
      seed_(seed),
      policy_(limit.rps != 0 ? fmt::format("\"default\";q={};w=1", limit.rps)
                             : fmt::format("\"default\";q={};w=60", limit.rpm)),
      all_(rate_of(limit)),
      cost_(all_.clock().terms().cost),
      tolerance_(all_.clock().terms().tolerance) {
  if (limit_.key != config::RateLimit::Key::route)
    by_key_ = std::make_unique<GcraTable>(rate_of(limit), limit.keys_max);
}

std::uint64_t RateLimiter::key_of(const Facts& facts) const {
  using enum config::RateLimit::Key;
  switch (limit_.key) {
    case route:
      break;
    case intent:
      return hash(facts.intent, seed_);
    case header: {
      const http::Field* field = facts.request.find(limit_.header);
      return hash(field == nullptr ? std::string_view{} : field->value, seed_);
    }
    case client: {
      std::array<std::uint8_t, 16> bytes = facts.client.bytes;
      if (facts.client.length == bytes.size()) {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          const std::size_t before = i * 8;
          const std::size_t kept = ipv6_prefix_ > before ? std::min<std::size_t>(ipv6_prefix_ - before, 8) : 0;
          bytes[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> kept));
        }
      }
      return hash(std::span<const std::uint8_t>(bytes.data(), facts.client.length), seed_);
    }
  }
  return 0;
}

Admission RateLimiter::admit(const Facts& facts, Instant now) {
  if (RateLimiter* other = counted_by_.load(std::memory_order_acquire)) return other->admit(facts, now);
  const Terms terms{.cost = cost_.load(std::memory_order_relaxed),
                    .tolerance = tolerance_.load(std::memory_order_relaxed)};
  return by_key_ == nullptr ? all_.admit(now, terms) : by_key_->admit(key_of(facts), now, terms);
}

void RateLimiter::go_by(const std::optional<Interim>& interim) {
  const Terms terms = interim ? all_.clock().terms(interim->per_second, interim->burst) : all_.clock().terms();
  cost_.store(terms.cost, std::memory_order_relaxed);
  tolerance_.store(terms.tolerance, std::memory_order_relaxed);
  counted_by_.store(interim ? interim->counted_by : nullptr, std::memory_order_release);
}

void announce(const Admission& admission, const RateLimiter& limiter, http::ResponseHead& response) {
  char text[64];
  if (limiter.announces()) {
    response.add("RateLimit-Policy", limiter.policy());
    char* end = put(text, "\"default\";r=");
    end = put(end, admission.remaining);
    end = put(end, ";t=");
    end = put(end, whole_seconds(admission.full_after));
    response.add("RateLimit", response.arena.copy({text, end}));
  }
  if (!admission.admitted) {
    const char* const end = put(text, std::max<std::int64_t>(1, whole_seconds(admission.retry_after)));
    response.add("Retry-After", response.arena.copy({text, end}));
  }
}

}  // namespace dao::flow
