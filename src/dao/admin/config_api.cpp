#include "dao/admin/config_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <expected>
#include <functional>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dao/admin/config_pages.h"
#include "dao/admin/order_request.h"
#include "dao/admin/transition_page.h"
#include "dao/http/status.h"
#include "dao/rt/event.h"

namespace dao::admin {

namespace {

using server::ConfigOutcome;
using server::TransitionOrder;
using server::TransitionOutcome;

constexpr std::size_t kOrderBodyMax = 16384;  // without a configuration in it
// Two of the largest configurations, sent at once.
constexpr std::size_t kConfigBodyMemory = 2 * kConfigBodyMax;
// Preparing waits for names to resolve, for the disk and for the workers.
constexpr Nanoseconds kMainPatience = std::chrono::seconds(60);
constexpr std::size_t kHistoryMax = 1'000'000;

// What became of an order; on the service's thread.
template <class Outcome>
struct Pending {
  std::optional<Outcome> outcome;
  rt::Event told;
};

std::optional<TransitionOrder::What> transition_order(ConfigApi::Resource resource) {
  switch (resource) {
    case ConfigApi::Resource::pause:
      return TransitionOrder::What::pause;
    case ConfigApi::Resource::resume:
      return TransitionOrder::What::resume;
    case ConfigApi::Resource::abort:
      return TransitionOrder::What::abort;
    case ConfigApi::Resource::finish:
      return TransitionOrder::What::finish;
    default:
      return std::nullopt;
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t most) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool good = error == std::errc{} && end == text.data() + text.size() && number > 0 && number <= most;
  return good ? std::optional{number} : std::nullopt;
}

// `names`: the only ones that the query may have, each the number of something.
std::expected<std::vector<std::optional<std::uint64_t>>, Answer> read_numbers(
    const Target& target, std::initializer_list<std::string_view> names, std::uint64_t most) {
  std::vector<std::optional<std::uint64_t>> numbers(names.size());
  for (const auto& [name, value] : target.query) {
    const auto known = std::find(names.begin(), names.end(), name);
    const std::optional<std::uint64_t> number = parse_number(value, most);
    if (known == names.end() || !number) {
      std::string all;
      for (const std::string_view one : names) all += fmt::format("{}\"{}\"", all.empty() ? "" : " and ", one);
      return std::unexpected(
          refuse(http::status::kBadRequest, "bad_query", fmt::format("{} can be asked for, a number from 1", all)));
    }
    numbers[static_cast<std::size_t>(known - names.begin())] = number;
  }
  return numbers;
}

}  // namespace

// The way from the main thread to the service's, which may be gone when there is something to tell.
class ConfigApi::Mailbox {
 public:
  explicit Mailbox(rt::EpollLoop& loop) : loop_(&loop) {}
  // Any thread.
  void post(std::function<void()> message) {
    const std::lock_guard lock(mutex_);
    if (loop_ != nullptr) loop_->post(std::move(message));
  }
  void close() {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
  }

 private:
  std::mutex mutex_;
  rt::EpollLoop* loop_;
};

ConfigApi::ConfigApi(server::Operations& operations, rt::EpollLoop& loop, rt::Cancel& ending)
    : operations_(operations),
      loop_(loop),
      ending_(ending),
      mailbox_(std::make_shared<Mailbox>(loop)),
      body_memory_(kConfigBodyMemory) {}

ConfigApi::~ConfigApi() {
  mailbox_->close();
}

ConfigApi::Resource ConfigApi::resource_at(const Target& target) {
  const std::vector<std::string>& path = target.path;
  if (path.size() < 2 || path[0] != "v1" || path[1] != "config") return Resource::none;
  if (path.size() == 2) return Resource::config;
  if (path.size() == 3) {
    if (path[2] == "status") return Resource::status;
    if (path[2] == "reload") return Resource::reload;
    if (path[2] == "history") return Resource::history;
    if (path[2] == "diff") return Resource::diff;
  }
  if (path.size() == 4) {
    if (path[2] == "snapshots") return Resource::snapshot;
    if (path[2] == "rollback") return Resource::rollback;
    if (path[2] == "transition") {
      if (path[3] == "pause") return Resource::pause;
      if (path[3] == "resume") return Resource::resume;
      if (path[3] == "abort") return Resource::abort;
      if (path[3] == "finish") return Resource::finish;
    }
  }
  return Resource::none;
}

std::string_view ConfigApi::methods_of(Resource resource) {
  switch (resource) {
    case Resource::config:
      return "GET, HEAD, POST";
    case Resource::reload:
    case Resource::rollback:
    case Resource::pause:
    case Resource::resume:
    case Resource::abort:
    case Resource::finish:
      return "POST";
    default:
      return "GET, HEAD";
  }
}

Answer ConfigApi::read(Resource resource, const Target& target) {
  constexpr auto kAny = std::numeric_limits<std::uint64_t>::max();
  if (resource == Resource::history) {
    const auto numbers = read_numbers(target, {"limit"}, kHistoryMax);
    if (!numbers) return numbers.error();
    return history_answer(operations_, numbers->front().value_or(kHistoryMax));
  }
  if (resource == Resource::diff) {
    const auto numbers = read_numbers(target, {"from", "to"}, kAny);
    if (!numbers) return numbers.error();
    return diff_answer(operations_, numbers->front(), numbers->back());
  }
  if (!target.query.empty())
    return refuse(http::status::kBadRequest, "bad_query", "there is nothing to be said in the query here");
  if (resource == Resource::status) return config_status_answer(operations_);
  if (resource == Resource::config) return config_answer(operations_);
  const std::uint64_t number = parse_snapshot(target.path[3]);
  if (number == 0) return refuse(http::status::kNotFound, "no_such_snapshot", "snapshots have numbers, from 1");
  return snapshot_answer(operations_, number);
}

rt::Task<Answer> ConfigApi::order(Resource resource, const Target& target, http::Exchange& exchange) {
  const std::uint64_t snapshot = resource == Resource::rollback ? parse_snapshot(target.path[3]) : 0;
  if (resource == Resource::rollback && snapshot == 0) {
    co_return refuse(http::status::kNotFound, "no_such_snapshot", "snapshots have numbers, from 1");
  }
  // Held until the order is done: its text is in memory for as long.
  BodyMemory::Share share(body_memory_);
  auto reading = read_body(exchange, resource == Resource::config ? kConfigBodyMax : kOrderBodyMax, share, ending_);
  std::expected<std::string, Answer> body = co_await std::move(reading);
  if (!body) co_return std::move(body.error());
  const http::RequestHead& head = exchange.request();
  const http::Field* if_match = head.find("if-match");
  const std::string in_use = operations_.config_status().etag;
  OrderRequest request{.target = target,
                       .media_type = media_type(head),
                       .body = *std::move(body),
                       .if_match = if_match == nullptr ? std::string_view{} : if_match->value,
                       .peer = exchange.peer().ip_text(),
                       .etag_in_use = in_use};
  if (const auto what = transition_order(resource)) {
    auto wanted = transition_order(std::move(request), *what);
    if (!wanted) co_return std::move(wanted.error());
    auto obeying = obeyed<TransitionOutcome>(*std::move(wanted), transition_answer);
    Answer answer = co_await std::move(obeying);
    co_return answer;
  }
  auto order = resource == Resource::config   ? apply_order(std::move(request))
               : resource == Resource::reload ? reload_order(std::move(request))
                                              : rollback_order(std::move(request), snapshot);
  if (!order) co_return std::move(order.error());
  auto obeying = obeyed<ConfigOutcome>(*std::move(order), outcome_answer);
  Answer answer = co_await std::move(obeying);
  co_return answer;
}

template <class Outcome, class Order>
rt::Task<Answer> ConfigApi::obeyed(Order order, Answer (*answer_for)(const Outcome&)) {
  const auto pending = std::make_shared<Pending<Outcome>>();
  operations_.order(std::move(order), [mailbox = mailbox_, pending](const Outcome& outcome) {
    mailbox->post([pending, outcome] {
      pending->outcome = outcome;
      pending->told.set();
    });
  });
  auto waiting = pending->told.wait(loop_, loop_.now() + kMainPatience, &ending_);
  const rt::Wake wake = co_await waiting;
  if (pending->outcome) co_return answer_for(*pending->outcome);
  const std::string_view see = "; /v1/config/status will tell what became of the order";
  if (wake == rt::Wake::timed_out) {
    co_return refuse(http::status::kUnavailable, "no_answer", fmt::format("it takes longer than a minute{}", see));
  }
  co_return refuse(http::status::kUnavailable, "ending", fmt::format("this admin API ends{}", see));
}

}  // namespace dao::admin
