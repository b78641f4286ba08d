#include "dao/admin/admin_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dao/admin/order_request.h"
#include "dao/admin/pages.h"
#include "dao/base/json_text.h"
#include "dao/base/log.h"
#include "dao/http/status.h"
#include "dao/rt/event.h"
#include "dao/server/error_answer.h"
#include "dao/server/hash_key.h"

namespace dao::admin {

namespace {

using nlohmann::json;

constexpr std::size_t kBodyMax = 16384;  // of what is no configuration
// A worker answers between two batches of events.
constexpr Nanoseconds kWorkerPatience = std::chrono::seconds(2);
constexpr std::string_view kJson = "application/json";
constexpr std::string_view kReads = "GET, HEAD";
constexpr std::string_view kChanges = "POST";
// Every connection that the service has may send a small body at the same time.
constexpr std::size_t kBodyMemory = 64 * kBodyMax;

// What the workers say, on the service's thread. Shared with messages that may come too late.
struct Gathering {
  std::vector<std::optional<server::ExplainAnswer>> answers;
  std::size_t missing;
  rt::Event complete;
};

Answer no_such_upstream(const std::string& name) {
  return refuse(http::status::kNotFound, "no_such_upstream", "no upstream is called " + name);
}

Answer method_not_allowed(std::string_view allow) {
  Answer wrong = refuse(http::status::kMethodNotAllowed, "method_not_allowed",
                        allow == kChanges ? "what changes something is a POST"
                        : allow == kReads ? "this is only read, with GET or HEAD"
                                          : "this is read with GET or HEAD, and changed with POST");
  wrong.allow = allow;
  return wrong;
}

}  // namespace

AdminService::AdminService(int listen_fd, AccessRules rules, server::Operations& operations)
    : SideService(listen_fd, std::max(kBodyMax, kConfigBodyMax)),
      rules_(std::move(rules)),
      operations_(operations),
      config_(operations, loop(), ending()),
      body_memory_(kBodyMemory) {}

rt::Task<> AdminService::handle(http::Exchange& exchange, const Error* rejected) {
  Answer said;
  if (rejected != nullptr) {
    const server::ErrorAnswer what = server::answer_for(*rejected);
    exchange.close_after();
    if (what.status == http::status::kClientGone) {
      exchange.abort();
      co_return;
    }
    said = refuse(what.status, "bad_request", std::string(what.sentence));
  } else if (auto refusal = check_access(rules_, exchange.request())) {
    static log::RateLimit limit{1};
    log::warning(limit, "admin request refused",
                 {{"peer", exchange.peer().ip_text()}, {"status", refusal->status}, {"reason", refusal->detail}});
    said = refuse(refusal->status, refusal->error, std::move(refusal->detail));
  } else {
    auto answering = answer_to(exchange);
    said = co_await std::move(answering);
  }
  http::ResponseHead response;
  if (said.status == http::status::kUnauthorized) response.add("WWW-Authenticate", "Bearer realm=\"dao\"");
  if (!said.allow.empty()) response.add("Allow", said.allow);
  const std::string etag = fmt::format("\"{}\"", said.etag);
  if (!said.etag.empty()) response.add("ETag", etag);
  response.add("Cache-Control", "no-store");
  response.add("X-Content-Type-Options", "nosniff");
  // A path of the operator's may be no UTF-8.
  const std::string body = json_text(said.body, 2) + "\n";
  auto replying = reply(exchange, response, said.status, kJson, body);
  co_await std::move(replying);
}

rt::Task<Answer> AdminService::answer_to(http::Exchange& exchange) {
  const http::RequestHead& request = exchange.request();
  const std::optional<Target> target = parse_target(request.path);
  if (!target) co_return refuse(http::status::kBadRequest, "bad_target", "the path or its query is not well-formed");
  const std::vector<std::string>& path = target->path;
  const bool reads = request.method == http::Method::get || request.method == http::Method::head;
  const bool posts = request.method == http::Method::post;
  if (const auto resource = ConfigApi::resource_at(*target); resource != ConfigApi::Resource::none) {
    const std::string_view allow = ConfigApi::methods_of(resource);
    if (reads && allow != kChanges) co_return config_.read(resource, *target);
    if (!posts || allow == kReads) co_return method_not_allowed(allow);
    auto ordering = config_.order(resource, *target, exchange);
    Answer ordered = co_await std::move(ordering);
    co_return ordered;
  }
  const bool changes =
      path.size() == 4 && path[0] == "v1" && path[1] == "upstreams" && (path[3] == "drain" || path[3] == "undrain");
  const bool explains = path.size() == 3 && path[0] == "v1" && path[1] == "explain";
  if (!changes && !explains) {
    Answer page = read(*target);
    if (page.status == http::status::kNotFound || reads) co_return page;
  } else if (changes && posts) {
    auto changing = change(exchange, path[2], path[3] == "drain");
    Answer changed = co_await std::move(changing);
    co_return changed;
  } else if (explains && reads) {
    auto explaining = explain(*target);
    Answer explained = co_await std::move(explaining);
    co_return explained;
  }
  co_return method_not_allowed(changes ? kChanges : kReads);
}

Answer AdminService::read(const Target& target) {
  const std::vector<std::string>& path = target.path;
  if (path.size() == 2 && path[0] == "v1") {
    if (path[1] == "status") return {.body = status_page(operations_)};
    if (path[1] == "upstreams") return {.body = upstreams_page(operations_)};
    if (path[1] == "routes") return {.body = routes_page(operations_)};
  }
  if (path.size() == 3 && path[0] == "v1" && path[1] == "upstreams") {
    const std::shared_ptr<const config::Config> config = operations_.config();
    const auto upstream = std::ranges::find(config->upstreams, path[2], &config::Upstream::name);
    if (upstream == config->upstreams.end()) return no_such_upstream(path[2]);
    const auto index = static_cast<std::size_t>(upstream - config->upstreams.begin());
    return {.body = upstream_page(operations_, *config, index)};
  }
  return refuse(http::status::kNotFound, "not_found",
                "here are /v1/status, /v1/upstreams, /v1/upstreams/NAME, /v1/routes, /v1/explain/ROUTE, /v1/config, "
                "/v1/config/status, /v1/config/history, /v1/config/snapshots/N, /v1/config/diff and, with POST, "
                "/v1/upstreams/NAME/drain, /v1/upstreams/NAME/undrain, /v1/config, /v1/config/reload, "
                "/v1/config/rollback/N and /v1/config/transition/pause, resume, abort and finish");
}

rt::Task<Answer> AdminService::change(http::Exchange& exchange, const std::string& name, bool drain) {
  BodyMemory::Share share(body_memory_);
  auto reading = read_body(exchange, kBodyMax, share, ending());
  std::expected<std::string, Answer> body = co_await std::move(reading);
  if (!body) co_return std::move(body.error());
  std::string reason;
  if (!body->empty()) {
    if (!http::equals_ignoring_case(media_type(exchange.request()), kJson)) {
      co_return refuse(http::status::kUnsupportedMediaType, "unsupported_media_type", "a body is application/json");
    }
    const json told = parse_json(*body);
    if (!told.is_object()) co_return refuse(http::status::kBadRequest, "bad_body", "the body is no JSON object");
    for (const auto& [field, value] : told.items()) {
      if (field != "reason" || !value.is_string() || value.get_ref<const std::string&>().size() > kReasonMax) {
        co_return refuse(
            http::status::kBadRequest, "bad_body",
            fmt::format("a body has \"reason\", a text of at most {} bytes, and nothing else", kReasonMax));
      }
      reason = value.get<std::string>();
    }
  }
  const std::shared_ptr<const config::Config> config = operations_.config();
  const auto found = std::ranges::find(config->upstreams, name, &config::Upstream::name);
  if (found == config->upstreams.end()) co_return no_such_upstream(name);
  const std::uint32_t upstream = found->number;
  sense::Admission& admission = operations_.admission();
  const bool changed = admission.drained(upstream) != drain;
  admission.drain(upstream, drain);
  const std::int64_t in_flight = operations_.in_flight().count(upstream);
  log::warning(drain ? "upstream drained" : "upstream undrained", {{"upstream", name},
                                                                   {"by", exchange.peer().ip_text()},
                                                                   {"changed", changed},
                                                                   {"in_flight", in_flight},
                                                                   {"reason", reason}});
  co_return Answer{.body = {{"upstream", name},
                            {"drained", drain},
                            {"changed", changed},
                            {"in_flight", in_flight},
                            {"routes_left_without", routes_left_without(operations_, *config)}}};
}

rt::Task<Answer> AdminService::explain(const Target& target) {
  bool coming = false;
  for (const auto& [name, value] : target.query) {
    if (name != "side") continue;
    if (value != "old" && value != "new")
      co_return refuse(http::status::kBadRequest, "bad_query", "a side is \"old\" or \"new\"");
    coming = value == "new";
  }
  const std::shared_ptr<const config::Config> config = coming ? operations_.coming() : operations_.config();
  if (!config)
    co_return refuse(http::status::kNotFound, "no_transition", "no transition is under way, so there is no new side");
  const auto rule = std::ranges::find(config->rules, target.path[2], &config::Rule::name);
  if (rule == config->rules.end()) {
    co_return refuse(http::status::kNotFound, "no_such_route", "no rule is called " + target.path[2]);
  }
  // As a request would have it that says nothing of its own.
  server::ExplainQuestion question{.rule = rule->name, .intent = rule->intent, .coming = coming};
  for (const auto& [name, value] : target.query) {
    if (name == "key") {
      if (rule->policy.kind != config::Policy::consistent_hash) continue;  // no other looks at it
      const std::optional<std::uint64_t> key = server::hash_of(rule->hash_key, value);
      if (!key)
        co_return refuse(http::status::kBadRequest, "bad_query",
                         "the rule's key is the client's address, which this is not");
      question.key = *key;
    } else if (name == "intent") {
      const auto& intents = config->intents;
      const auto found =
          std::ranges::find_if(intents, [&](const std::string& one) { return http::equals_ignoring_case(one, value); });
      if (found == intents.end()) {
        co_return refuse(http::status::kBadRequest, "no_such_intent", "the configuration has no intent " + value);
      }
      question.intent = std::uint64_t{1} << static_cast<std::size_t>(found - intents.begin());
    } else if (name != "side") {
      co_return refuse(http::status::kBadRequest, "bad_query",
                       "\"intent\", \"key\" and \"side\" can be asked for, not " + name);
    }
  }
  const std::size_t workers = operations_.workers();
  const auto gathering = std::make_shared<Gathering>();
  gathering->answers.resize(workers);
  gathering->missing = workers;
  operations_.explain(question, [&loop = loop(), gathering](std::size_t worker, server::ExplainAnswer answer) {
    loop.post([gathering, worker, answer = std::move(answer)]() mutable {
      gathering->answers[worker] = std::move(answer);
      if (--gathering->missing == 0) gathering->complete.set();
    });
  });
  auto waiting = gathering->complete.wait(loop(), loop().now() + kWorkerPatience, &ending());
  const rt::Wake wake = co_await waiting;
  static_cast<void>(wake);  // those that did not answer are named
  if (gathering->missing == workers)
    co_return refuse(http::status::kUnavailable, "no_answer", "no worker has answered in time");
  co_return Answer{.body = explain_page(operations_, *rule, gathering->answers)};
}

std::expected<bool, std::string> Factory::prepare(const config::Config& config) {
  std::string token;
  if (!config.admin.token_file.empty()) {
    auto read = read_token(config.admin.token_file);
    if (!read) return std::unexpected(std::move(read.error()));
    token = *std::move(read);
  }
  prepared_ = rules_for(config.admin, std::move(token));
  return prepared_ != in_use_;
}

std::unique_ptr<server::SideService> Factory::make(int listen_fd, const net::SocketAddress& bound,
                                                   server::Operations& operations) {
  // A socket that systemd opened says only now what it is.
  in_use_ = prepared_;
  AccessRules rules = prepared_;
  rules.any_host = rules.any_host || bound.is_unix();
  return std::make_unique<AdminService>(listen_fd, std::move(rules), operations);
}

}  // namespace dao::admin
