#include "dao/config/load.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "dao/config/policies.h"

namespace dao::config {
namespace {

using std::chrono_literals::operator""ms;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kUpstreams = "[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"http://h\"\n";
constexpr std::string_view kRoute =
    "[[routes.rule]]\nname = \"r\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"http://h\"\n";

std::filesystem::path source_dir() {
  const char* dir = std::getenv("DAO_SOURCE_DIR");
  return dir == nullptr ? "." : dir;
}

struct Expected {
  std::uint32_t line;
  std::uint32_t column;
  std::string key;
  std::string message;
  std::string suggestion = {};
};

struct BadConfig {
  std::string name;
  std::string text;
  std::vector<Expected> errors;
};

void PrintTo(const BadConfig& bad, std::ostream* out) {
  *out << bad.name;
}

// A config with these lines of [server], from line 2.
std::string server(std::string_view lines) {
  return "[server]\n" + std::string(lines) + "\n" + std::string(kRoute);
}
std::string listener(std::string_view name, std::string_view bind) {
  return "[[server.listener]]\nname = \"" + std::string(name) + "\"\nbind = \"" + std::string(bind) + "\"\n";
}
// A config whose one rule has this [routes.rule.match], from line 4.
std::string match(std::string_view lines) {
  return "[[routes.rule]]\nname = \"r\"\n[routes.rule.match]\n" + std::string(lines) + "\n" + std::string(kUpstreams);
}
// A config whose one rule has these lines, from line 3.
std::string rule(std::string_view lines) {
  return "[[routes.rule]]\nname = \"r\"\n" + std::string(lines) + "\n" + std::string(kUpstreams);
}
// The same with these lines of [routes.rule.filters], from line 4.
std::string filters(std::string_view lines) {
  return rule("[routes.rule.filters]\n" + std::string(lines));
}
// A config whose one upstream, on line 5, has this URL.
std::string url(std::string_view text) {
  return "[[routes.rule]]\nname = \"r\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"" + std::string(text) +
         "\"\n";
}

class BadConfigTest : public testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, SaysWhatIsWrongAndWhere) {
  const auto loaded = load_text(GetParam().text, "dao.toml");
  ASSERT_FALSE(loaded.has_value());
  const Diagnostics& found = loaded.error();
  ASSERT_EQ(found.size(), GetParam().errors.size()) << found.front().message;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const Expected& wanted = GetParam().errors[i];
    EXPECT_EQ(found[i].file, "dao.toml");
    EXPECT_EQ(found[i].severity, Severity::error);
    EXPECT_EQ(found[i].line, wanted.line);
    EXPECT_EQ(found[i].column, wanted.column);
    EXPECT_EQ(found[i].key, wanted.key);
    EXPECT_EQ(found[i].message, wanted.message);
    EXPECT_EQ(found[i].suggestion, wanted.suggestion);
  }
}

std::vector<BadConfig> bad_configs() {
  const std::string route(kRoute);
  const std::string up(kUpstreams);
  std::string many;
  for (int i = 0; i < 65; ++i) many += "\":0\",";
  std::string many_intents;
  for (int i = 1; i < 65; ++i) many_intents += "\"" + std::to_string(i) + "\",";
  std::string many_listeners;
  for (int i = 0; i < 257; ++i) many_listeners += listener("l" + std::to_string(i), ":0");
  return {
      // Whole file and syntax
      {"Empty", " \n", {{0, 0, "", "the file is empty"}}},
      {"NoRoutes", "[server]\n", {{0, 0, "routes.rule", "no routes: there is nothing to serve"}}},
      {"NoRules", "\n[routes]\n", {{2, 1, "routes.rule", "no routes: there is nothing to serve"}}},
      {"Utf8", "[server]\nvia = \"\xc3\xa4 \xff\"\n", {{2, 10, "", "syntax: a byte that is not UTF-8"}}},
      {"BareNonAscii",
       "[server]\nvi\xc3\xa4 = 1\n",
       {{2, 3, "", "syntax: a character outside ASCII needs a string around it"}}},
      {"HeaderWithoutKey", "[server]\n[ \n", {{2, 3, "", "syntax: a table header needs a key here"}}},
      {"HeaderOfArrayWithoutKey", "a = [\n[1]]\n[[.b]]\n", {{3, 3, "", "syntax: a table header needs a key here"}}},
      {"HeaderWithNul", std::string("[\0", 2), {{1, 2, "", "syntax: a table header needs a key here"}}},
      {"HeaderWithEmptyKey",
       "[]\n",
       {{1, 2, "", "syntax: parsing table header: tables with blank bare keys are explicitly prohibited"}}},
      {"HeaderAtTheEnd", "[", {{1, 2, "", "syntax: parsing table header: encountered end-of-file"}}},
      {"NestedArrays", "a = " + std::string(40, '['), {{1, 37, "", "nested too deeply"}}},
      {"NestedKeys", "\na" + std::string(40, '.'), {{2, 33, "", "nested too deeply"}}},
      // Unknown keys
      {"Typo", server("wrokers = 4"), {{2, 1, "server.wrokers", "unknown key \"wrokers\" in [server]", "workers"}}},
      {"Dashes",
       server("Max-Connections = 4"),
       {{2, 1, "server.Max-Connections", "unknown key \"Max-Connections\" in [server]", "max_connections"}}},
      {"WithoutUnit",
       server("idle_timeout = 4"),
       {{2, 1, "server.idle_timeout", "unknown key \"idle_timeout\" in [server]", "idle_timeout_ms"}}},
      {"OtherTable",
       server("path_prefix = \"/\""),
       {{2, 1, "server.path_prefix", "unknown key \"path_prefix\" in [server]; it belongs in [routes.rule.match]",
         "path_prefix"}}},
      {"AWordOfIt",
       "[telemetry]\nbind = \"127.0.0.1:9090\"\n" + route,
       {{2, 1, "telemetry.bind", "unknown key \"bind\" in [telemetry]", "prometheus_bind"}}},
      {"WhatNginxCallsIt",
       server("listen = 80"),
       {{2, 1, "server.listen", "unknown key \"listen\" in [server]", "bind"}}},
      {"WhatHaproxyCallsIt",
       route + "address = \"127.0.0.1:80\"\n",
       {{6, 1, "routes.rule[0].upstreams[0].address", "unknown key \"address\" in [[routes.rule.upstreams]]", "url"}}},
      {"SimilarElsewhere",
       server("connect_timeout = 4"),
       {{2, 1, "server.connect_timeout",
         "unknown key \"connect_timeout\" in [server]; [proxy] has \"connect_timeout_ms\"", "connect_timeout_ms"}}},
      {"TopLevel",
       "workers = 1\n" + route,
       {{1, 1, "workers", "unknown key \"workers\" at the top level; it belongs in [server]", "workers"}}},
      {"IncludeInATable",
       server("include = \"x\""),
       {{2, 1, "server.include", "unknown key \"include\" in [server]; it belongs before all tables", "include"}}},
      {"LiminalIsLater",
       route + "[liminal.shadow]\n",
       {{6, 10, "liminal.shadow", "unknown key \"shadow\" in [liminal]"}}},
      {"UnknownUpgrade",
       match("upgrade = \"h2c\""),
       {{4, 11, "routes.rule[0].match.upgrade", "\"h2c\" is not a known value"}}},
      {"PoolKeysAreNotPerRule",
       "[[routes.rule]]\nname = \"r\"\n[routes.rule.proxy]\npool_max_idle = 1\n" + up,
       {{4, 1, "routes.rule[0].proxy.pool_max_idle",
         "unknown key \"pool_max_idle\" in [routes.rule.proxy]; it belongs in [proxy]", "pool_max_idle"}}},
      // Types
      {"Float", server("workers = 4.0"), {{2, 11, "server.workers", "wrong type: the float 4", "4"}}},
      {"NumberInQuotes", server("workers = \"4\""), {{2, 11, "server.workers", "wrong type: the string \"4\"", "4"}}},
      {"Duration",
       server("idle_timeout_ms = \"5s\""),
       {{2, 19, "server.idle_timeout_ms", "wrong type: the string \"5s\"", "5000"}}},
      {"Size",
       server("body_max_bytes = \"1 MiB\""),
       {{2, 18, "server.body_max_bytes", "wrong type: the string \"1 MiB\"", "1048576"}}},
      {"BooleanInQuotes",
       server("proxy_status_details = \"yes\""),
       {{2, 24, "server.proxy_status_details", "wrong type: the string \"yes\"", "true"}}},
      {"StringForList",
       "[dns]\nservers = \"9.9.9.9:53\"\n" + route,
       {{2, 11, "dns.servers", "wrong type: the string \"9.9.9.9:53\"", "[\"9.9.9.9:53\"]"}}},
      {"DateForString", server("via = 2026-01-01"), {{2, 7, "server.via", "wrong type: a date or time"}}},
      {"TableForKey", server("via = {}"), {{2, 7, "server.via", "wrong type: a table"}}},
      {"KeyForTable", "server = 1\n" + route, {{1, 10, "server", "wrong type: the integer 1"}}},
      {"ArrayForTable", "[[server]]\n" + route, {{1, 1, "server", "[server] is one table, not an array of tables"}}},
      {"TableForArray",
       "[routes.rule]\nname = \"r\"\n",
       {{1, 1, "routes.rule", "\"rule\" is an array of tables, not one table"}}},
      {"StringForUpstream",
       "[[routes.rule]]\nname = \"r\"\nupstreams = [\"http://h\"]\n",
       {{3, 14, "routes.rule[0].upstreams[0]", "wrong type: the string \"http://h\""}}},
      {"NumberInList", server("bind = [80]"), {{2, 9, "server.bind[0]", "wrong type: the integer 80"}}},
      {"HeaderNumber",
       match("headers = { a = 1 }"),
       {{4, 17, "routes.rule[0].match.headers.a", "wrong type: the integer 1"}}},
      // Ranges and choices
      {"Range", "[proxy]\nretries = 3\n" + route, {{2, 11, "proxy.retries", "3 is out of range"}}},
      {"Negative", server("workers = -1"), {{2, 11, "server.workers", "-1 is out of range"}}},
      {"WeightZero",
       url("http://h") + "weight = 0\n",
       {{6, 10, "routes.rule[0].upstreams[0].weight", "0 is out of range"}}},
      {"Choice",
       "[[routes.rule]]\nname = \"r\"\npolicy = \"round_robin\"\n" + up,
       {{3, 10, "routes.rule[0].policy", "\"round_robin\" is not a known policy", "round-robin"}}},
      // Policies and intents
      {"EmptyPolicy",
       "[[routes.rule]]\nname = \"r\"\npolicy = \"\"\n" + up,
       {{3, 10, "routes.rule[0].policy", "the name of the policy is empty"}}},
      {"PolicyOfTheFile",
       "[policies.aggressive]\n[[routes.rule]]\nname = \"r\"\npolicy = \"agressive\"\n" + up,
       {{4, 10, "routes.rule[0].policy", "\"agressive\" is not a known policy", "aggressive"}}},
      {"PolicyNumber",
       "[[routes.rule]]\nname = \"r\"\npolicy = 1\n" + up,
       {{3, 10, "routes.rule[0].policy", "wrong type: the integer 1"}}},
      {"PolicyShadows",
       route + "[policies.resonant]\nw_load = 1\n",
       {{6, 11, "policies.resonant", "\"resonant\" is the name of a policy that comes with DAO"}}},
      {"PolicyName",
       route + "[policies.\"a b\"]\nw_load = 1\n",
       {{6, 11, "policies.\"a b\"", "\"a b\" cannot be the name of a policy"}}},
      {"PolicyWithoutName",
       route + "[policies]\nw_load = 1\n",
       {{7, 10, "policies.w_load", "wrong type: the integer 1"}}},
      {"PoliciesNoTable", "policies = 1\n" + route, {{1, 12, "policies", "wrong type: the integer 1"}}},
      {"PolicyTypo",
       route + "[policies.p]\nw_laod = 1\n",
       {{7, 1, "policies.p.w_laod", "unknown key \"w_laod\" in [policies.p]", "w_load"}}},
      {"PolicyKeyElsewhere",
       server("w_load = 1"),
       {{2, 1, "server.w_load", "unknown key \"w_load\" in [server]; it belongs in [policies.NAME]", "w_load"}}},
      {"WeightRange",
       route + "[policies.p]\nw_load = 100.5\n",
       {{7, 10, "policies.p.w_load", "100.5 is out of range"}}},
      {"WeightNegative", route + "[policies.p]\nw_load = -1\n", {{7, 10, "policies.p.w_load", "-1 is out of range"}}},
      {"WeightNan", route + "[policies.p]\nw_load = nan\n", {{7, 10, "policies.p.w_load", "nan is out of range"}}},
      {"WeightText",
       route + "[policies.p]\nw_load = \"0.5\"\n",
       {{7, 10, "policies.p.w_load", "wrong type: the string \"0.5\"", "0.5"}}},
      {"WeighsNothing",
       route + "[policies.p]\nw_load = 0\nw_intent = 0\nw_tempo = 0.0\n",
       {{6, 11, "policies.p", "the policy \"p\" weighs nothing: all upstreams would be equal"}}},
      {"TwoZones",
       url("http://h") + "zone = \"a\"\n[[routes.rule]]\nname = \"s\"\nmatch.host = \"h\"\n" + up,
       {{11, 8, "routes.rule[1].upstreams[0].name", "the upstream \"u\" has another \"zone\" on line 4"}}},
      {"HashKey",
       "[[routes.rule]]\nname = \"r\"\nhash_key = \"cookie:\"\n" + up,
       {{3, 12, "routes.rule[0].hash_key", "\"cookie:\" is nothing to keep requests together by"}}},
      {"IntentWithSpace",
       "[[routes.rule]]\nname = \"r\"\nintent = \"real time\"\n" + up,
       {{3, 10, "routes.rule[0].intent", "\"real time\" cannot be an intent"}}},
      {"TooManyIntents",
       "[[routes.rule]]\nname = \"r\"\nintent = \"last\"\n" + up + "intent = [" + many_intents + "]\n",
       {{7, 10, "routes.rule[0].upstreams[0].intent", "\"64\" is one intent too many"}}},
      {"IntentHeader",
       "[routes]\nintent_header = \"a:b\"\n" + route,
       {{2, 17, "routes.intent_header", "\"a:b\" is not a header name"}}},
      {"ChoiceInList",
       "[proxy]\nretry_on = [\"4xx\"]\n" + route,
       {{2, 13, "proxy.retry_on[0]", "\"4xx\" is not a known value", "5xx"}}},
      {"ListedTwice",
       "[proxy]\nretry_on = [\"5xx\", \"5xx\"]\n" + route,
       {{2, 20, "proxy.retry_on[1]", "\"5xx\" is listed twice"}}},
      {"TooManyBinds", server("bind = [" + many + "]"), {{2, 8, "server.bind", "65 items are too many"}}},
      {"EmptyBind", server("bind = []"), {{2, 8, "server.bind", "the array is empty"}}},
      {"TtlBounds",
       "[dns]\nmin_ttl_ms = 400000\n" + route,
       {{2, 14, "dns.min_ttl_ms", "min_ttl_ms (400000) is larger than max_ttl_ms (300000)"}}},
      // Addresses
      {"BindPortOnly", server("bind = \"8080\""), {{2, 8, "server.bind", "the host is missing", "*:8080"}}},
      {"BindNoPort", server("bind = \"1.2.3.4\""), {{2, 8, "server.bind", "the port is missing"}}},
      {"BindBadPort", server("bind = \"1.2.3.4:65536\""), {{2, 8, "server.bind", "\"65536\" is not a port"}}},
      {"BindName",
       server("bind = \"localhost:80\""),
       {{2, 8, "server.bind", "\"localhost\" is not an IP address", "127.0.0.1:80"}}},
      {"BindUrl",
       server("bind = \"http://1.2.3.4:80/\""),
       {{2, 8, "server.bind", "\"http://1.2.3.4:80/\" is a URL, not an address", "1.2.3.4:80"}}},
      {"BindBareV6",
       server("bind = \"::1\""),
       {{2, 8, "server.bind", "an IPv6 address needs brackets and a port", "[::1]:80"}}},
      {"BindPath", server("bind = \"/run/s\""), {{2, 8, "server.bind", "\"/run/s\" is not an address", "unix:/run/s"}}},
      {"BindRelative",
       server("bind = \"unix:s\""),
       {{2, 8, "server.bind", "the path of a unix socket must be absolute"}}},
      {"BindLong",
       server("bind = \"unix:/" + std::string(107, 'x') + "\""),
       {{2, 8, "server.bind", "the path of a unix socket has 108 bytes"}}},
      {"BindTwice",
       server("bind = [\"127.0.0.1:80\", \"x\", \"127.0.0.1:80\"]"),
       {{2, 25, "server.bind[1]", "the port is missing"},
        {2, 30, "server.bind[2]", "two listeners on one address: \"127.0.0.1:80\" is also server.bind[0]"}}},
      {"BindWildcardTwice",
       server("bind = [\"*:80\", \"0.0.0.0:80\"]"),
       {{2, 17, "server.bind[1]", "two listeners on one address: \"0.0.0.0:80\" is also server.bind[0]"}}},
      {"TelemetryOnBind",
       route + "[telemetry]\nprometheus_bind = \"127.0.0.1:8080\"\n",
       {{7, 19, "telemetry.prometheus_bind", "two listeners on one address: \"127.0.0.1:8080\" is also server.bind"}}},
      {"TelemetryOnListener",
       server(listener("a", "127.0.0.1:9")) + "[telemetry]\nprometheus_bind = \"127.0.0.1:9\"\n",
       {{12, 19, "telemetry.prometheus_bind",
         "two listeners on one address: \"127.0.0.1:9\" is also server.listener[0].bind"}}},
      {"AdminOnBind",
       route + "[admin]\nbind = \"127.0.0.1:8080\"\n",
       {{7, 8, "admin.bind", "two listeners on one address: \"127.0.0.1:8080\" is also server.bind"}}},
      {"AdminForAllWithoutToken",
       route + "[admin]\nbind = \"*:9901\"\n",
       {{7, 8, "admin.bind", "the admin API on \"*:9901\" needs a token: others than this machine may reach it"}}},
      {"AdminInheritedWithoutToken",
       route + "[admin]\nbind = \"fd:admin\"\n",
       {{7, 8, "admin.bind", "the admin API on \"fd:admin\" needs a token: others than this machine may reach it"}}},
      {"AdminHostWildcard",
       route + "[admin]\nallow_hosts = [\"*.a.test\"]\n",
       {{7, 16, "admin.allow_hosts[0]", "\"*.a.test\" stands for names that others may have made"}}},
      {"AdminHostPort",
       route + "[admin]\nallow_hosts = [\"a.test:9901\"]\n",
       {{7, 16, "admin.allow_hosts[0]", "a host is matched without its port", "a.test"}}},
      {"AdminTokenPath",
       route + "[admin]\ntoken_file = \"\"\n",
       {{7, 14, "admin.token_file", "\"\" cannot be the path of a file"}}},
      {"AdminTrusted",
       route + "[admin]\nexplain_trusted = [\"me\"]\n",
       {{7, 20, "admin.explain_trusted[0]", "\"me\" is not an IP address"}}},
      {"MemoryPath",
       route + "[memory]\npath = \"/var/lib/dao/\"\n",
       {{7, 8, "memory.path", "\"/var/lib/dao/\" cannot be the path of a file"}}},
      {"MemoryWithoutSnapshots",
       route + "[memory]\nsnapshots = 0\n",
       {{7, 13, "memory.snapshots", "0 is out of range"}}},
      {"ListenersOnOneAddress",
       server("bind = \":1\"\n" + listener("a", ":2") + listener("b", ":1") + listener("c", "0.0.0.0:2")),
       {{8, 8, "server.listener[1].bind", "two listeners on one address: \":1\" is also server.bind"},
        {11, 8, "server.listener[2].bind",
         "two listeners on one address: \"0.0.0.0:2\" is also server.listener[0].bind"}}},
      {"ListenersOfOneName",
       server("bind = \":1\"\n" + listener("a", ":2") + listener("1", ":3") + listener("a", ":4")),
       {{7, 8, "server.listener[1].name", "the listener name \"1\" is that of an address in server.bind"},
        {10, 8, "server.listener[2].name", "the listener name \"a\" is already taken on line 4"}}},
      {"ListenerWithoutBind",
       server("[[server.listener]]\nname = \"a\""),
       {{2, 1, "server.listener[0].bind", "\"bind\" is missing in [[server.listener]]"}}},
      {"ListenerWithoutProtocol",
       server(listener("a", ":1") + "protocols = []"),
       {{5, 13, "server.listener[0].protocols", "the array is empty"}}},
      {"TooManyListeners", server(many_listeners), {{770, 1, "server.listener[256]", "257 listeners are too many"}}},
      {"Cidr",
       server("trusted_proxies = [\"10.0.0.0/33\"]"),
       {{2, 20, "server.trusted_proxies[0]", "\"33\" is not a prefix length"}}},
      {"CidrBits",
       server("trusted_proxies = [\"10.0.0.1/8\"]"),
       {{2, 20, "server.trusted_proxies[0]", "\"10.0.0.1/8\" has bits set behind its prefix of 8", "10.0.0.0/8"}}},
      {"CidrName",
       server("trusted_proxies = [\"lb\"]"),
       {{2, 20, "server.trusted_proxies[0]", "\"lb\" is not an IP address"}}},
      {"DnsName",
       "[dns]\nservers = [\"ns.example.org\"]\n" + route,
       {{2, 12, "dns.servers[0]", "\"ns.example.org\" is not an IP address"}}},
      {"DnsPortZero",
       "[dns]\nservers = [\"9.9.9.9:0\"]\n" + route,
       {{2, 12, "dns.servers[0]", "port 0 cannot be sent to"}}},
      {"Via", server("via = \"a b\""), {{2, 7, "server.via", "\"a b\" is not an HTTP token"}}},
      // Matches
      {"PathBoth",
       match("path_exact = \"/a\"\npath_prefix = \"/\""),
       {{5, 1, "routes.rule[0].match.path_prefix", "\"path_prefix\" and \"path_exact\" exclude each other"}}},
      {"PathSlash",
       match("path_prefix = \"api\""),
       {{4, 15, "routes.rule[0].match.path_prefix", "the path does not start with \"/\"", "/api"}}},
      {"PathQuery",
       match("path_exact = \"/a?b\""),
       {{4, 14, "routes.rule[0].match.path_exact", "a path is matched without query and fragment", "/a"}}},
      {"PathSpace",
       match("path_exact = \"/a b\""),
       {{4, 14, "routes.rule[0].match.path_exact",
         "no request can have this path: it contains a space, a control character or a character outside ASCII"}}},
      {"HostPort",
       match("host = \"a.b:80\""),
       {{4, 8, "routes.rule[0].match.host", "a host is matched without its port", "a.b"}}},
      {"HostStar",
       match("host = \"*\""),
       {{4, 8, "routes.rule[0].match.host", "\"*\" is not a host; a rule without \"host\" matches every host"}}},
      {"HostInnerStar",
       match("host = [\"a.*.b\"]"),
       {{4, 9, "routes.rule[0].match.host[0]", "\"*\" can only stand for what comes before the first dot"}}},
      {"HostEmpty", match("host = \"\""), {{4, 8, "routes.rule[0].match.host", "the host is empty"}}},
      {"HostDot",
       match("host = \"a.b.\""),
       {{4, 8, "routes.rule[0].match.host", "the dot at the end is not part of a host", "a.b"}}},
      {"HostSpace", match("host = \"a b\""), {{4, 8, "routes.rule[0].match.host", "\"a b\" is not a host"}}},
      {"HeaderName",
       match("headers = { \"a b\" = \"1\" }"),
       {{4, 13, "routes.rule[0].match.headers.\"a b\"", "\"a b\" is not a header name"}}},
      {"HeaderTwice",
       match("headers = { A = \"1\", a = \"1\" }"),
       {{4, 22, "routes.rule[0].match.headers.a", "the header \"a\" is named twice"}}},
      {"HeaderValue",
       match("headers = { a = \" 1\" }"),
       {{4, 13, "routes.rule[0].match.headers.a",
         "no header can have this value: it contains a control character or space around it"}}},
      // TLS
      {"TlsCertAlone", server("tls_cert = \"/c\""), {{2, 12, "server.tls_cert", "a certificate without its key"}}},
      {"TlsKeyAlone", server("tls_key = \"/k\""), {{2, 11, "server.tls_key", "a key without its certificate"}}},
      {"TlsForNoBind",
       server("tls_cert = \"/c\"\ntls_key = \"/k\"\n" + listener("a", ":1")),
       {{2, 12, "server.tls_cert", "tls_cert is for the addresses of \"bind\", and there is none"}}},
      {"TlsNoCertificate",
       server(listener("a", ":1") + "[server.listener.tls]\n"),
       {{5, 1, "server.listener[0].tls", "TLS without a certificate"}}},
      {"TlsVersions",
       server(listener("a", ":1") + "[server.listener.tls]\nmin_version = \"1.3\"\nmax_version = \"1.2\"\n" +
              "[[server.listener.tls.certificates]]\ncert = \"/c\"\nkey = \"/k\""),
       {{6, 15, "server.listener[0].tls.min_version", "min_version is newer than max_version"}}},
      {"TlsNobodyVouches",
       server(listener("a", ":1") + "[server.listener.tls]\nclient_auth = \"required\"\n" +
              "[[server.listener.tls.certificates]]\ncert = \"/c\"\nkey = \"/k\""),
       {{6, 15, "server.listener[0].tls.client_auth", "nobody vouches for clients"}}},
      {"TlsPath",
       server("tls_cert = \"/c/\"\ntls_key = \"/k\""),
       {{2, 12, "server.tls_cert", "\"/c/\" cannot be the path of a file"}}},
      {"TlsKeysWithoutTls",
       url("http://h\"\ntls_verify = false\ntls_ca = \"/c"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "keys of TLS for an upstream without TLS"}}},
      {"ProtocolsWithoutTls",
       url("http://h") + "protocols = [\"h2\", \"h1\"]\n",
       {{6, 13, "routes.rule[0].upstreams[0].protocols",
         "the protocol is agreed on in TLS, which this upstream does not speak"}}},
      {"ProtocolsNone",
       url("https://h") + "protocols = []\n",
       {{6, 13, "routes.rule[0].upstreams[0].protocols", "the array is empty"}}},
      {"ProtocolsDiffer",
       url("https://h") +
           "[[routes.rule]]\nname = \"s\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"https://h\"\n" +
           "protocols = [\"h1\"]\n",
       {{9, 8, "routes.rule[1].upstreams[0].name", "the upstream \"u\" has other keys of TLS on line 4"}}},
      {"ProxyProtocolOfAnUpstream",
       url("http://h\"\nproxy_protocol = \"v3"),
       {{6, 18, "routes.rule[0].upstreams[0].proxy_protocol", "\"v3\" is not a known value"}}},
      {"ProxyProtocolTwice",
       "[[routes.rule]]\nname = \"r\"\n" + up + "[[routes.rule]]\nname = \"s\"\n" + up + "proxy_protocol = \"v2\"\n",
       {{9, 8, "routes.rule[1].upstreams[0].name", "the upstream \"u\" has another \"proxy_protocol\" on line 4"}}},
      {"MaxInFlightTooLarge",
       "[[routes.rule]]\nname = \"r\"\n" + up + "max_in_flight = 1000001\n",
       {{6, 17, "routes.rule[0].upstreams[0].max_in_flight", "1000001 is out of range"}}},
      {"MaxInFlightTwice",
       "[[routes.rule]]\nname = \"r\"\n" + up + "max_in_flight = 8\n[[routes.rule]]\nname = \"s\"\n" + up,
       {{10, 8, "routes.rule[1].upstreams[0].name", "the upstream \"u\" has another \"max_in_flight\" on line 4"}}},
      // Presence
      {"ProbeType",
       url("http://h\"\n[routes.rule.upstreams.probe]\ntype = \"udp"),
       {{7, 8, "routes.rule[0].upstreams[0].probe.type", "\"udp\" is not a known value"}}},
      {"ProbePath",
       url("http://h\"\n[routes.rule.upstreams.probe]\npath = \"health"),
       {{7, 8, "routes.rule[0].upstreams[0].probe.path", "\"health\" is not a path"}}},
      {"ProbeHost",
       url("http://h\"\n[routes.rule.upstreams.probe]\nhost = \"a b"),
       {{7, 8, "routes.rule[0].upstreams[0].probe.host", "\"a b\" is not a host"}}},
      {"ProbeStatus",
       url("http://h\"\n[routes.rule.upstreams.probe]\nexpect_status = \"399-200"),
       {{7, 17, "routes.rule[0].upstreams[0].probe.expect_status", "\"399-200\" is not a range of status codes"}}},
      {"ProbeHttpOfH2c",
       url("h2c://h\"\n[routes.rule.upstreams.probe]\ntype = \"http"),
       {{7, 8, "routes.rule[0].upstreams[0].probe.type", "the probe speaks HTTP/1.1, and this upstream only HTTP/2"}}},
      {"ProbesDiffer",
       "[[routes.rule]]\nname = \"r\"\n" + up + "[[routes.rule]]\nname = \"s\"\n" + up +
           "[routes.rule.upstreams.probe]\ntype = \"tcp\"\n",
       {{9, 8, "routes.rule[1].upstreams[0].name", "the upstream \"u\" has another \"probe\" on line 4"}}},
      {"PresenceShares",
       "[liminal.presence]\nliminal_percent = 90\n" + route,
       {{2, 19, "liminal.presence.liminal_percent", "liminal_percent (90) is larger than present_percent (80)"}}},
      {"PresenceBackoff",
       "[liminal.presence]\nprobe_backoff_max_ms = 100\n" + route,
       {{2, 24, "liminal.presence.probe_backoff_max_ms",
         "probe_backoff_ms (250) is larger than probe_backoff_max_ms (100)"}}},
      {"PresenceUnknownKey",
       "[liminal.presence]\nfailure = 1\n" + route,
       {{2, 1, "liminal.presence.failure", "unknown key \"failure\" in [liminal.presence]", "failures"}}},
      // Transitions
      {"TransitionKey",
       "[liminal.metamorphic]\nkey = \"header:\"\n" + route,
       {{2, 7, "liminal.metamorphic.key", "\"header:\" is nothing to keep requests together by"}}},
      {"TransitionNegative",
       "[liminal.metamorphic]\ntransition_ms = -1\n" + route,
       {{2, 17, "liminal.metamorphic.transition_ms", "-1 is out of range"}}},
      {"TransitionMargin",
       "[liminal.metamorphic]\nmax_error_increase_percent = 101\n" + route,
       {{2, 30, "liminal.metamorphic.max_error_increase_percent", "101 is out of range"}}},
      {"TransitionCertain",
       "[liminal.metamorphic]\nfalse_alarm_percent = 0\n" + route,
       {{2, 23, "liminal.metamorphic.false_alarm_percent", "nothing is certain enough for no false alarm at all"}}},
      {"TransitionUnknownKey",
       "[liminal.metamorphic]\ntransition = 5\n" + route,
       {{2, 1, "liminal.metamorphic.transition", "unknown key \"transition\" in [liminal.metamorphic]",
         "transition_ms"}}},
      {"ClientPrefix",
       server("ipv6_client_prefix = 129"),
       {{2, 22, "server.ipv6_client_prefix", "129 is out of range"}}},
      // URLs
      {"UrlScheme", url("ftp://h"), {{5, 7, "routes.rule[0].upstreams[0].url", "the scheme \"ftp\" is not supported"}}},
      {"UrlNoScheme", url("h:80"), {{5, 7, "routes.rule[0].upstreams[0].url", "the scheme is missing", "http://h:80"}}},
      {"UrlPath", url("/run/s"), {{5, 7, "routes.rule[0].upstreams[0].url", "the scheme is missing", "unix:/run/s"}}},
      {"UrlEmpty", url(""), {{5, 7, "routes.rule[0].upstreams[0].url", "the URL is empty"}}},
      {"UrlNoHost", url("http://:80"), {{5, 7, "routes.rule[0].upstreams[0].url", "the host is missing"}}},
      {"UrlPort", url("http://h:0"), {{5, 7, "routes.rule[0].upstreams[0].url", "\"0\" is not a port"}}},
      {"UrlUser",
       url("http://a@h"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "a user name or password has no place here"}}},
      {"UrlQuery",
       url("http://h/?a"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "a query or fragment has no place here"}}},
      {"UrlDots",
       url("http://h/a/../b"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "the path contains a \".\" or \"..\" segment"}}},
      {"UrlSpace",
       url("http://h/a b"),
       {{5, 7, "routes.rule[0].upstreams[0].url",
         "the path contains characters that a URL path cannot have unless percent-encoded"}}},
      {"UrlAddress",
       url("http://1.2.3.400"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "\"1.2.3.400\" is neither a host name nor an IP address"}}},
      {"UrlBareV6",
       url("http://::1/x"),
       {{5, 7, "routes.rule[0].upstreams[0].url", "an IPv6 address needs brackets", "http://[::1]/x"}}},
      // Rules and upstreams
      {"NoUpstreams",
       "[[routes.rule]]\nname = \"r\"\n",
       {{1, 1, "routes.rule[0].upstreams", "the rule has no upstreams"}}},
      {"NoName", "[[routes.rule]]\n" + up, {{1, 1, "routes.rule[0].name", "\"name\" is missing in [[routes.rule]]"}}},
      {"NoUrl",
       "[[routes.rule]]\nname = \"r\"\n[[routes.rule.upstreams]]\nname = \"u\"\n",
       {{3, 1, "routes.rule[0].upstreams[0].url", "\"url\" is missing in [[routes.rule.upstreams]]"}}},
      {"EmptyName", "[[routes.rule]]\nname = \"\"\n" + up, {{2, 8, "routes.rule[0].name", "\"\" cannot be a name"}}},
      {"RuleTwice", route + route, {{7, 8, "routes.rule[1].name", "the rule name \"r\" is already taken on line 2"}}},
      {"UpstreamTwice",
       route + up,
       {{7, 8, "routes.rule[0].upstreams[1].name", "the upstream \"u\" is in this rule already, on line 4"}}},
      {"UpstreamTwoUrls",
       url("http://h") + "[[routes.rule]]\nname = \"s\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"http://i\"\n",
       {{10, 7, "routes.rule[1].upstreams[0].url", "the upstream \"u\" has another URL on line 5: \"http://h\""}}},
      // Filters
      {"EditOfFraming",
       filters("request_headers_set = { \"Content-Length\" = \"1\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.Content-Length",
         "\"Content-Length\" cannot be edited: it belongs to one connection or says where a message ends"}}},
      {"EditOfHopByHop",
       filters("response_headers_remove = [\"connection\"]"),
       {{4, 28, "routes.rule[0].filters.response_headers_remove[0]",
         "\"connection\" cannot be edited: it belongs to one connection or says where a message ends"}}},
      {"EditOfHandshake",
       filters("request_headers_add = { \"Sec-WebSocket-Key\" = \"x\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_add.Sec-WebSocket-Key",
         "\"Sec-WebSocket-Key\" cannot be edited: a WebSocket opens by it"}}},
      {"EditOfPseudoHeader",
       filters("request_headers_add = { \":path\" = \"x\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_add.\":path\"",
         "\":path\" is a pseudo-header of HTTP/2, no field"}}},
      {"HostAdded",
       filters("request_headers_add = { Host = \"x\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_add.Host",
         "every request has exactly one \"Host\"; it can only be set"}}},
      {"EditTwice",
       filters("request_headers_add = { a = \"x\", A = \"y\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_add.a", "the header \"a\" is named twice"}}},
      {"EditEmpty",
       filters("request_headers_set = { a = \"\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.a", "the value is empty"}}},
      {"VariableUnknown",
       filters("request_headers_set = { a = \"$clientip\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.a", "there is no variable \"$clientip\"", "$client_ip"}}},
      {"VariableUnfinished",
       filters("request_headers_set = { a = \"${path\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.a", "\"${\" without \"}\""}}},
      {"DollarAlone",
       filters("request_headers_set = { a = \"5 $\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.a", "a dollar sign without the name of a variable"}}},
      {"StatusOfARequest",
       filters("request_headers_set = { a = \"$status\" }"),
       {{4, 25, "routes.rule[0].filters.request_headers_set.a", "there is no status before there is a response"}}},
      {"LimitTwice",
       filters("rate_limit_rps = 1\n[routes.rule.filters.rate_limit]\nrps = 2"),
       {{4, 18, "routes.rule[0].filters.rate_limit_rps", "the rate limit is given twice"}}},
      {"LimitWithoutRate",
       filters("[routes.rule.filters.rate_limit]\nburst = 2"),
       {{4, 1, "routes.rule[0].filters.rate_limit", "a rate limit without a rate"}}},
      {"LimitTwoRates",
       filters("[routes.rule.filters.rate_limit]\nrps = 2\nrpm = 3"),
       {{6, 1, "routes.rule[0].filters.rate_limit.rpm", "\"rps\" and \"rpm\" exclude each other"}}},
      {"LimitKey",
       filters("[routes.rule.filters.rate_limit]\nrps = 2\nkey = \"header\""),
       {{6, 7, "routes.rule[0].filters.rate_limit.key", "\"header\" is not a known value"}}},
      {"DenyNothing",
       filters("deny = [\"10.0.0.0/33\"]"),
       {{4, 9, "routes.rule[0].filters.deny[0]", "\"33\" is not a prefix length"}}},
      {"WasmIsNotThere",
       filters("wasm = []"),
       {{4, 1, "routes.rule[0].filters.wasm", "unknown key \"wasm\" in [routes.rule.filters]"}}},
      {"RewriteTwoWays",
       rule("[routes.rule.rewrite]\nstrip_prefix = \"/a\"\nregex = \"b\""),
       {{5, 1, "routes.rule[0].rewrite.regex", "\"strip_prefix\" and \"regex\" exclude each other"}}},
      {"RewriteOfNothing",
       rule("[routes.rule.rewrite]\nreplace_prefix = \"/a\""),
       {{4, 18, "routes.rule[0].rewrite.replace_prefix", "there is no prefix to replace"}}},
      {"ReplacementOfNothing",
       rule("[routes.rule.rewrite]\nreplacement = \"/a\""),
       {{4, 15, "routes.rule[0].rewrite.replacement", "there is nothing to replace"}}},
      {"ReplacementGroup",
       rule("[routes.rule.rewrite]\nregex = \"a(b)\"\nreplacement = \"$2\""),
       {{5, 15, "routes.rule[0].rewrite.replacement",
         "the regular expression has 1 groups, and \"$2\" is none of them"}}},
      {"RegexBroken",
       rule("[routes.rule.rewrite]\nregex = \"a(b\""),
       {{4, 9, "routes.rule[0].rewrite.regex", "not a regular expression: missing ): a(b"}}},
      {"RedirectToTheSame",
       rule("[routes.rule.redirect]\nstatus = 301"),
       {{3, 1, "routes.rule[0].redirect", "a redirect to the same place"}}},
      {"RedirectStatus",
       rule("[routes.rule.redirect]\nscheme = \"https\"\nstatus = 304"),
       {{5, 10, "routes.rule[0].redirect.status", "304 is no redirect"}}},
      {"RedirectUpstream",
       rule("[routes.rule.redirect]\nhost = \"$upstream\""),
       {{4, 8, "routes.rule[0].redirect.host", "no upstream is chosen yet where \"$upstream\" stands"}}},
      {"RespondAndUpstreams",
       rule("[routes.rule.respond]\nstatus = 200"),
       {{5, 1, "routes.rule[0].upstreams", "never used: the rule answers by itself"}}},
      {"RespondWithoutStatus",
       "[[routes.rule]]\nname = \"r\"\n[routes.rule.respond]\nbody = \"x\"\n",
       {{3, 1, "routes.rule[0].respond", "a response without a status"}}},
      {"RespondBody",
       "[[routes.rule]]\nname = \"r\"\n[routes.rule.respond]\nstatus = 204\nbody = \"x\"\n",
       {{5, 8, "routes.rule[0].respond.body", "a 204 has no body"}}},
      {"RespondAndRedirect",
       "[[routes.rule]]\nname = \"r\"\n[routes.rule.redirect]\nport = 1\n[routes.rule.respond]\nstatus = 200\n",
       {{5, 1, "routes.rule[0].respond", "\"redirect\" and \"respond\" exclude each other"}}},
      {"StickyWithoutSecret",
       rule("[routes.rule.sticky]\ncookie = \"c\""),
       {{3, 1, "routes.rule[0].sticky", "nothing to sign the cookie with"}}},
      {"StickyWithoutCookie",
       rule("[routes.rule.sticky]\nsecret = \"0123456789abcdef\""),
       {{3, 1, "routes.rule[0].sticky", "no name for the cookie"}}},
      {"StickySecretShort",
       rule("[routes.rule.sticky]\ncookie = \"c\"\nsecret = \"short\""),
       {{5, 10, "routes.rule[0].sticky.secret", "the secret is too short"}}},
      {"SplitUnknownUpstream",
       rule("[[routes.rule.split]]\nname = \"g\"\nweight = 1\nupstreams = [\"u\", \"v\"]"),
       {{6, 19, "routes.rule[0].split[0].upstreams[1]", "the rule has no upstream \"v\""}}},
      {"SplitWithoutCondition",
       rule("[[routes.rule.split]]\nname = \"g\"\nupstreams = \"x\""),
       {{3, 1, "routes.rule[0].split[0]", "no request gets into this group"},
        {5, 13, "routes.rule[0].split[0].upstreams", "the rule has no upstream \"x\""}}},
      {"SplitNobodyLeft",
       rule("[[routes.rule.split]]\nname = \"g\"\nheaders = { a = \"b\" }\nupstreams = \"u\""),
       {{3, 1, "routes.rule[0].split", "no upstream is left for requests that no group takes"}}},
      // Several at once, in order of position
      {"Several",
       "[server]\nworkers = -1\nvia = 1\n[routes]\nx = 1\n",
       {{2, 11, "server.workers", "-1 is out of range"},
        {3, 7, "server.via", "wrong type: the integer 1"},
        {4, 1, "routes.rule", "no routes: there is nothing to serve"},
        {5, 1, "routes.x", "unknown key \"x\" in [routes]"}}},
  };
}

INSTANTIATE_TEST_SUITE_P(All, BadConfigTest, testing::ValuesIn(bad_configs()),
                         [](const auto& instance) { return instance.param.name; });

TEST(Load, SyntaxErrorsHaveAPosition) {
  const auto loaded = load_text("[server]\nbind = \n", "x");
  ASSERT_FALSE(loaded);
  ASSERT_EQ(loaded.error().size(), 1U);
  EXPECT_EQ(loaded.error().front().line, 2U);
  EXPECT_THAT(loaded.error().front().message, HasSubstr("syntax: "));
  EXPECT_EQ(loaded.error().front().source_line, "bind = ");
}

TEST(Load, DefaultsAreThoseOfTheSchema) {
  const auto loaded = load_text(kRoute, "x");
  ASSERT_TRUE(loaded);
  EXPECT_THAT(loaded->warnings, IsEmpty());
  const Config& config = loaded->config;
  EXPECT_EQ(config.source, "x");
  ASSERT_EQ(config.server.listeners.size(), 1U);
  EXPECT_EQ(config.server.listeners[0].name, "1");
  EXPECT_EQ(config.server.listeners[0].address.host, "127.0.0.1");
  EXPECT_EQ(config.server.listeners[0].address.port, 8080);
  EXPECT_EQ(config.server.workers, 0U);
  EXPECT_EQ(config.server.max_connections, 0U);
  EXPECT_EQ(config.server.target_max_bytes, 8192U);
  EXPECT_EQ(config.server.header_max_bytes, 32768U);
  EXPECT_EQ(config.server.header_max_count, 100U);
  EXPECT_EQ(config.server.body_max_bytes, 0U);
  EXPECT_EQ(config.server.header_timeout, 10000ms);
  EXPECT_EQ(config.server.body_timeout, 30000ms);
  EXPECT_EQ(config.server.body_min_bytes_per_second, 64U);
  EXPECT_EQ(config.server.idle_timeout, 60000ms);
  EXPECT_EQ(config.server.write_timeout, 30000ms);
  EXPECT_EQ(config.server.drain_timeout, 30000ms);
  EXPECT_EQ(config.server.via, "dao");
  EXPECT_EQ(config.server.forwarded, Forwarded::both);
  EXPECT_THAT(config.server.trusted_proxies.blocks, IsEmpty());
  EXPECT_FALSE(config.server.trusted_proxies.unix_sockets);
  EXPECT_FALSE(config.server.proxy_status_details);
  EXPECT_EQ(config.proxy.defaults.connect_timeout, 1000ms);
  EXPECT_EQ(config.proxy.defaults.first_byte_timeout, 30000ms);
  EXPECT_EQ(config.proxy.defaults.read_timeout, 30000ms);
  EXPECT_EQ(config.proxy.defaults.total_timeout, 0ms);
  EXPECT_EQ(config.proxy.defaults.retries, 1U);
  EXPECT_TRUE(config.proxy.defaults.retry_on.connect_failure);
  EXPECT_TRUE(config.proxy.defaults.retry_on.connection_lost);
  EXPECT_TRUE(config.proxy.defaults.retry_on.status_5xx);
  EXPECT_EQ(config.proxy.retry_budget_percent, 20U);
  EXPECT_EQ(config.proxy.retry_budget_min_per_second, 10U);
  EXPECT_EQ(config.proxy.response_header_max_bytes, 65536U);
  EXPECT_EQ(config.proxy.interim_responses_max, 16U);
  EXPECT_EQ(config.proxy.pool_max_idle, 1024U);
  EXPECT_EQ(config.proxy.pool_idle_timeout, 60000ms);
  EXPECT_THAT(config.dns.servers, IsEmpty());
  EXPECT_EQ(config.dns.timeout, 2000ms);
  EXPECT_EQ(config.dns.min_ttl, 1000ms);
  EXPECT_EQ(config.dns.max_ttl, 300000ms);
  EXPECT_FALSE(config.telemetry.prometheus_bind);
  EXPECT_EQ(config.telemetry.access_log.path, "");
  EXPECT_EQ(config.telemetry.access_log.format, AccessLogFormat::json);
  EXPECT_EQ(config.telemetry.access_log.buffer_bytes, 1048576U);
  EXPECT_EQ(config.telemetry.log_level, LogLevel::info);
  ASSERT_EQ(config.rules.size(), 1U);
  EXPECT_EQ(config.rules[0].policy.kind, Policy::round_robin);
  EXPECT_EQ(config.rules[0].policy.name, "round-robin");
  EXPECT_EQ(config.rules[0].intent, 0U);
  EXPECT_EQ(config.rules[0].hash_key.kind, HashKey::Kind::client);
  EXPECT_EQ(config.rules[0].slow_start, 10000ms);
  EXPECT_EQ(config.rules[0].upstreams[0].intents, 0U);
  EXPECT_EQ(config.intent_header, "");
  EXPECT_THAT(config.intents, IsEmpty());
  EXPECT_THAT(config.rules[0].match.hosts, IsEmpty());
  ASSERT_EQ(config.rules[0].upstreams.size(), 1U);
  EXPECT_EQ(config.rules[0].upstreams[0].weight, 1U);
}

TEST(Load, BindsAreListenersWithoutSettings) {
  const auto loaded =
      load_text(server("bind = [\"127.0.0.1:80\", \"unix:/s\"]\n[[server.listener]]\nname = \"public\"\n"
                       "bind = \"*:443\"\nprotocols = [\"h1\"]\nproxy_protocol = \"required\"\n"
                       "max_connections = 9"),
                "x");
  ASSERT_TRUE(loaded);
  const std::vector<Listener>& listeners = loaded->config.server.listeners;
  ASSERT_EQ(listeners.size(), 3U);
  EXPECT_EQ(listeners[0].name, "1");
  EXPECT_TRUE(listeners[0].protocols.h1);
  EXPECT_TRUE(listeners[0].protocols.h2);
  EXPECT_EQ(listeners[0].proxy_protocol, ProxyHeader::off);
  EXPECT_EQ(listeners[0].max_connections, 0U);
  EXPECT_EQ(listeners[1].name, "2");
  EXPECT_EQ(listeners[1].address.path, "/s");
  EXPECT_EQ(listeners[2].name, "public");
  EXPECT_EQ(listeners[2].address.port, 443);
  EXPECT_TRUE(listeners[2].protocols.h1);
  EXPECT_FALSE(listeners[2].protocols.h2);
  EXPECT_EQ(listeners[2].proxy_protocol, ProxyHeader::required);
  EXPECT_EQ(listeners[2].max_connections, 9U);
}

TEST(Load, LimitsForOneClient) {
  const auto loaded = load_text(server("max_connections_per_client = 5\nipv6_client_prefix = 56\nbind = \":1\"\n" +
                                       listener("a", ":2") + "max_connections_per_client = 3"),
                                "x");
  ASSERT_TRUE(loaded);
  const Server& read = loaded->config.server;
  EXPECT_EQ(read.max_connections_per_client, 5U);
  EXPECT_EQ(read.ipv6_client_prefix, 56U);
  EXPECT_EQ(read.listeners[0].max_connections_per_client, 0U);
  EXPECT_EQ(read.listeners[1].max_connections_per_client, 3U);
  EXPECT_EQ(load_text(server(""), "x")->config.server.ipv6_client_prefix, 64U);
}

TEST(Load, PresenceAndProbes) {
  const auto defaults = load_text(url("http://h"), "x");
  ASSERT_TRUE(defaults);
  EXPECT_TRUE(defaults->config.liminal.presence.enabled);
  EXPECT_EQ(defaults->config.liminal.presence.history, 20U);
  EXPECT_EQ(defaults->config.liminal.presence.absent_after, 30'000ms);
  EXPECT_EQ(defaults->config.liminal.presence.failures, 3U);
  EXPECT_EQ(defaults->config.upstreams[0].probe, Probe{});
  const auto loaded = load_text("[liminal.presence]\nfailures = 5\nprobes_max = 7\n" +
                                    url("http://h\"\n[routes.rule.upstreams.probe]\ntype = \"http\"\npath = "
                                        "\"/health?deep=1\"\nexpect_status = \"204\"\nexpect_body = \"yes\"\nrise = "
                                        "1\nfall = 4\ninterval_ms = 700\nhost = \"a.test:8"),
                                "x");
  ASSERT_TRUE(loaded) << loaded.error().front().message;
  EXPECT_EQ(loaded->config.liminal.presence.failures, 5U);
  EXPECT_EQ(loaded->config.liminal.presence.probes_max, 7U);
  const Probe& probe = loaded->config.upstreams[0].probe;
  EXPECT_EQ(probe.type, ProbeType::http);
  EXPECT_EQ(probe.path, "/health?deep=1");
  EXPECT_EQ(probe.expect_status, (StatusRange{204, 204}));
  EXPECT_EQ(probe.expect_body, "yes");
  EXPECT_EQ(probe.interval, 700ms);
  EXPECT_EQ(probe.rise, 1U);
  EXPECT_EQ(probe.fall, 4U);
  EXPECT_EQ(probe.host, "a.test:8");
}

TEST(Load, Transitions) {
  const auto defaults = load_text(url("http://h"), "x");
  ASSERT_TRUE(defaults);
  const Metamorphic& plain = defaults->config.liminal.metamorphic;
  EXPECT_EQ(plain.transition, 0ms);
  EXPECT_EQ(plain.key.kind, HashKey::Kind::client);
  EXPECT_EQ(plain.max_error_increase_percent, 0.5);
  EXPECT_EQ(plain.max_latency_increase_percent, 10);
  EXPECT_EQ(plain.false_alarm_percent, 1);
  EXPECT_TRUE(plain.rollback);
  const auto loaded = load_text(
      "[liminal.metamorphic]\ntransition_ms = 300000\nkey = \"cookie:Id\"\nmax_error_increase_percent = 0.1\n"
      "max_latency_increase_percent = 25\nfalse_alarm_percent = 0.5\nrollback = false\n" +
          url("http://h"),
      "x");
  ASSERT_TRUE(loaded) << loaded.error().front().message;
  const Metamorphic& given = loaded->config.liminal.metamorphic;
  EXPECT_EQ(given.transition, 300'000ms);
  EXPECT_EQ(given.key.kind, HashKey::Kind::cookie);
  EXPECT_EQ(given.key.name, "Id");
  EXPECT_EQ(given.max_error_increase_percent, 0.1);
  EXPECT_EQ(given.max_latency_increase_percent, 25);
  EXPECT_EQ(given.false_alarm_percent, 0.5);
  EXPECT_FALSE(given.rollback);
  EXPECT_THAT(loaded->warnings, IsEmpty());
  const auto hasty = load_text("[liminal.metamorphic]\ntransition_ms = 500\n" + url("http://h"), "x");
  ASSERT_TRUE(hasty);
  ASSERT_EQ(hasty->warnings.size(), 1U);
  EXPECT_EQ(hasty->warnings[0].key, "liminal.metamorphic.transition_ms");
}

TEST(Load, WhatUpstreamsAreToldOfClients) {
  const auto loaded = load_text(url("http://h\"\nproxy_protocol = \"v1"), "x");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->config.upstreams[0].proxy_protocol, ProxyAnnouncement::v1);
  EXPECT_EQ(load_text(url("http://h"), "x")->config.upstreams[0].proxy_protocol, ProxyAnnouncement::off);
}

TEST(Load, LimitsOfUpstreamsAndTheQueueOfARule) {
  const auto loaded = load_text("[proxy]\nqueue_max = 7\n" + url("http://h\"\nmax_in_flight = 8 #") +
                                    "\n[routes.rule.proxy]\nqueue_timeout_ms = 20\n",
                                "x");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->config.upstreams[0].max_in_flight, 8U);
  EXPECT_EQ(loaded->config.rules[0].proxy.queue_max, 7U);
  EXPECT_EQ(loaded->config.rules[0].proxy.queue_timeout, std::chrono::milliseconds(20));
  const auto without = load_text(url("http://h"), "x");
  ASSERT_TRUE(without);
  EXPECT_EQ(without->config.upstreams[0].max_in_flight, 0U);
  EXPECT_EQ(without->config.rules[0].proxy.queue_max, 1024U);
  EXPECT_EQ(without->config.rules[0].proxy.queue_timeout, std::chrono::seconds(5));
}

TEST(Load, PoliciesOfTheFileAndThoseOfDao) {
  const auto loaded =
      load_text("[[routes.rule]]\nname = \"a\"\npolicy = \"own.one\"\n" + std::string(kUpstreams) +
                    "[[routes.rule]]\nname = \"b\"\npolicy = \"optimize-for-latency\"\nmatch.host = \"b\"\n" +
                    std::string(kUpstreams) + "[policies.\"own.one\"]\nw_load = 2\nw_tempo = 0.5\n[policies.idle]\n",
                "x");
  ASSERT_TRUE(loaded) << loaded.error().front().message;
  const std::vector<Rule>& rules = loaded->config.rules;
  EXPECT_EQ(rules[0].policy.kind, Policy::resonant);
  EXPECT_EQ(rules[0].policy.name, "own.one");
  EXPECT_EQ(rules[0].policy.weights, (ResonantWeights{.load = 2, .intent = 0.3, .tempo = 0.5}));
  EXPECT_EQ(rules[1].policy.kind, Policy::resonant);
  EXPECT_EQ(rules[1].policy.name, "optimize-for-latency");
  EXPECT_NE(rules[1].policy.weights, ResonantWeights{});
  ASSERT_FALSE(loaded->warnings.empty());
  EXPECT_EQ(loaded->warnings.back().key, "policies.idle");
  EXPECT_EQ(loaded->warnings.back().message, "no rule uses the policy \"idle\"");
}

TEST(Load, EveryPolicyOfDaoIsAName) {
  for (const BuiltInPolicy& policy : built_in_policies()) {
    const auto loaded = load_text(
        "[[routes.rule]]\nname = \"a\"\npolicy = \"" + std::string(policy.name) + "\"\n" + std::string(kUpstreams),
        "x");
    ASSERT_TRUE(loaded) << policy.name;
    EXPECT_EQ(loaded->config.rules[0].policy.kind, policy.kind);
    EXPECT_EQ(loaded->config.rules[0].policy.weights, policy.weights);
  }
}

TEST(Load, IntentsAreBits) {
  const auto loaded =
      load_text("[routes]\nintent_header = \"X-Intent\"\n[[routes.rule]]\nname = \"r\"\nintent = \"Batch\"\n" +
                    std::string(kUpstreams) + "intent = [\"realtime\", \"batch\"]\n" +
                    "[[routes.rule.upstreams]]\nname = \"v\"\nurl = \"http://v\"\nintent = \"realtime\"\n",
                "x");
  ASSERT_TRUE(loaded);
  const Config& config = loaded->config;
  EXPECT_THAT(config.intents, ElementsAre("realtime", "batch"));
  EXPECT_EQ(config.intent_header, "x-intent");
  EXPECT_EQ(config.rules[0].intent, 2U);
  EXPECT_EQ(config.rules[0].upstreams[0].intents, 3U);
  EXPECT_EQ(config.rules[0].upstreams[1].intents, 1U);
  ASSERT_EQ(loaded->warnings.size(), 1U);
  EXPECT_EQ(loaded->warnings[0].key, "routes.intent_header");
}

TEST(Load, Zones) {
  const auto with = [](std::string_view zone) {
    return load_text("[server]\nzone = \"here\"\n[[routes.rule]]\nname = \"r\"\n" + std::string(kUpstreams) +
                         "zone = \"" + std::string(zone) + "\"\n",
                     "x");
  };
  const auto loaded = with("here");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->config.server.zone, "here");
  EXPECT_EQ(loaded->config.upstreams[0].zone, "here");
  EXPECT_THAT(loaded->warnings, IsEmpty());
  const auto elsewhere = with("there");
  ASSERT_TRUE(elsewhere);
  ASSERT_EQ(elsewhere->warnings.size(), 1U);
  EXPECT_EQ(elsewhere->warnings[0].key, "server.zone");
}

TEST(Load, HashKeys) {
  const auto hash_key = [](std::string_view key, std::string_view policy) {
    return load_text("[[routes.rule]]\nname = \"r\"\npolicy = \"" + std::string(policy) + "\"\nhash_key = \"" +
                         std::string(key) + "\"\n" + std::string(kUpstreams),
                     "x");
  };
  const auto header = hash_key("header:X-User", "consistent-hash");
  ASSERT_TRUE(header);
  EXPECT_THAT(header->warnings, IsEmpty());
  EXPECT_EQ(header->config.rules[0].policy.kind, Policy::consistent_hash);
  EXPECT_EQ(header->config.rules[0].hash_key.kind, HashKey::Kind::header);
  EXPECT_EQ(header->config.rules[0].hash_key.name, "x-user");
  const auto cookie = hash_key("cookie:Id", "random");
  ASSERT_TRUE(cookie);
  EXPECT_EQ(cookie->config.rules[0].hash_key.kind, HashKey::Kind::cookie);
  EXPECT_EQ(cookie->config.rules[0].hash_key.name, "Id");
  ASSERT_EQ(cookie->warnings.size(), 1U);
  EXPECT_EQ(cookie->warnings[0].message, "the policy \"random\" hashes nothing");
}

TEST(Load, TheConfigOfTheOriginalProject) {
  const auto loaded = load_file(source_dir() / "configs/dao.toml");
  ASSERT_TRUE(loaded);
  const std::vector<Rule>& rules = loaded->config.rules;
  ASSERT_EQ(rules.size(), 4U);
  EXPECT_EQ(rules[0].policy.name, "intent-first");
  EXPECT_EQ(rules[0].policy.weights, (ResonantWeights{.load = 0.3, .intent = 0.6, .tempo = 0.1}));
  EXPECT_EQ(loaded->config.intents[0], "realtime");
  EXPECT_EQ(rules[0].intent, 1U);
  EXPECT_EQ(rules[0].upstreams[0].weight, 2U);
  EXPECT_EQ(rules[0].upstreams[0].intents, 1U);
  EXPECT_EQ(rules[1].policy.name, "aggressive");
  EXPECT_EQ(rules[2].policy.kind, Policy::resonant);
  EXPECT_EQ(rules[2].match.upgrade, Upgrade::websocket);
  EXPECT_EQ(rules[3].policy.kind, Policy::round_robin);
}

TEST(Load, ListenersOfTheirOwnReplaceTheDefaultBind) {
  const auto loaded = load_text(server("[[server.listener]]\nname = \"a\"\nbind = \":1\""), "x");
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->config.server.listeners.size(), 1U);
  EXPECT_EQ(loaded->config.server.listeners[0].name, "a");
}

TEST(Load, TlsOfListenersAndUpstreams) {
  const auto loaded =
      load_text("[server]\nbind = [\":1\", \":2\"]\ntls_cert = \"/c\"\ntls_key = \"/k\"\n" + listener("a", ":3") +
                    "[server.listener.tls]\nmin_version = \"1.3\"\nclient_auth = \"optional\"\nclient_ca = \"/ca\"\n"
                    "[[server.listener.tls.certificates]]\ncert = \"/1\"\nkey = \"/2\"\nocsp = \"/3\"\n" +
                    listener("b", ":4") +
                    "[[routes.rule]]\nname = \"r\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"https://H/x/\"\n"
                    "tls_server_name = \"API.test\"\ntls_verify = false\n",
                "x");
  ASSERT_TRUE(loaded);
  const std::vector<Listener>& listeners = loaded->config.server.listeners;
  ASSERT_EQ(listeners.size(), 4U);
  for (const std::size_t bind : {0U, 1U}) {
    ASSERT_EQ(listeners[bind].tls.certificates.size(), 1U);
    EXPECT_EQ(listeners[bind].tls.certificates[0].cert, "/c");
    EXPECT_EQ(listeners[bind].tls.certificates[0].key, "/k");
    EXPECT_EQ(listeners[bind].tls.min_version, TlsVersion::tls12);
  }
  EXPECT_EQ(listeners[2].tls.certificates[0].ocsp, "/3");
  EXPECT_EQ(listeners[2].tls.min_version, TlsVersion::tls13);
  EXPECT_EQ(listeners[2].tls.client_auth, ClientAuth::optional);
  EXPECT_EQ(listeners[2].tls.client_ca, "/ca");
  EXPECT_EQ(listeners[2].tls.ciphers, kDefaultCiphers);
  EXPECT_TRUE(listeners[3].tls.certificates.empty());
  const Upstream& upstream = loaded->config.upstreams[0];
  EXPECT_EQ(upstream.url.scheme, Scheme::https);
  EXPECT_EQ(upstream.url.port, 443);
  EXPECT_EQ(upstream.url.base_path, "/x");
  EXPECT_EQ(upstream.tls.server_name, "api.test");
  EXPECT_FALSE(upstream.tls.verify);
}

TEST(Load, AListOfRevokedCertificatesThatNobodyIsAskedFor) {
  const std::string lists = "client_ca = \"/ca\"\nclient_crl = \"/crl\"\n";
  const std::string rest = "[[server.listener.tls.certificates]]\ncert = \"/c\"\nkey = \"/k\"";
  const auto idle = load_text(server(listener("a", ":1") + "[server.listener.tls]\n" + lists + rest), "x");
  ASSERT_TRUE(idle);
  ASSERT_EQ(idle->warnings.size(), 1U);
  EXPECT_EQ(idle->warnings[0].key, "server.listener[0].tls.client_crl");
  EXPECT_EQ(idle->config.server.listeners[0].tls.client_crl, "/crl");
  const auto used = load_text(
      server(listener("a", ":1") + "[server.listener.tls]\nclient_auth = \"required\"\n" + lists + rest), "x");
  ASSERT_TRUE(used);
  EXPECT_THAT(used->warnings, IsEmpty());
}

TEST(Load, RulesOverrideProxyWhereverItStands) {
  const auto loaded =
      load_text(std::string("[[routes.rule]]\nname = \"r\"\n[routes.rule.proxy]\nretries = 0\nretry_on = []\n") +
                    std::string(kUpstreams) + "[proxy]\nretries = 2\nconnect_timeout_ms = 7\n",
                "x");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->config.proxy.defaults.retries, 2U);
  EXPECT_EQ(loaded->config.rules[0].proxy.retries, 0U);
  EXPECT_EQ(loaded->config.rules[0].proxy.connect_timeout, 7ms);
  EXPECT_FALSE(loaded->config.rules[0].proxy.retry_on.status_5xx);
}

TEST(Load, AnUpstreamNamedTwiceIsOneUpstream) {
  const auto loaded =
      load_text(url("http://H:80/") + "weight = 5\n" + "[[routes.rule]]\nname = \"s\"\n" + "match.host = \"a\"\n" +
                    "[[routes.rule.upstreams]]\nname = \"v\"\nurl = \"unix:///s\"\n" + std::string(kUpstreams),
                "x");
  ASSERT_TRUE(loaded);
  const Config& config = loaded->config;
  ASSERT_EQ(config.upstreams.size(), 2U);
  EXPECT_EQ(config.upstreams[0].name, "u");
  EXPECT_EQ(config.upstreams[1].url.socket_path, "/s");
  EXPECT_EQ(config.rules[0].upstreams[0].weight, 5U);
  EXPECT_EQ(config.rules[1].upstreams[0].index, 1U);
  EXPECT_EQ(config.rules[1].upstreams[1].index, 0U);
}

TEST(Load, WarnsOfRulesThatNothingReaches) {
  const auto text = match("path_prefix = \"/a\"") + "[[routes.rule]]\nname = \"s\"\nmatch.path_exact = \"/ab\"\n" +
                    std::string(kUpstreams);
  const auto loaded = load_text(text, "x");
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->warnings.size(), 1U);
  EXPECT_EQ(loaded->warnings[0].severity, Severity::warning);
  EXPECT_EQ(loaded->warnings[0].line, 8U);
  EXPECT_EQ(loaded->warnings[0].message,
            "no request reaches the rule \"s\": the rule \"r\" on line 1 takes everything it matches");
}

TEST(Load, TheAdminApiIsOnLoopbackUnlessToldOtherwise) {
  const auto plain = load_text(kRoute, "x");
  ASSERT_TRUE(plain);
  ASSERT_TRUE(plain->config.admin.bind);
  EXPECT_EQ(plain->config.admin.bind->text, "127.0.0.1:9901");
  EXPECT_FALSE(plain->config.admin.bind_given);
  EXPECT_FALSE(plain->config.admin.explain_header);
  EXPECT_TRUE(plain->config.admin.explain_trusted.unix_sockets);

  const auto off = load_text(std::string(kRoute) + "[admin]\nbind = \"off\"\n", "x");
  ASSERT_TRUE(off);
  EXPECT_FALSE(off->config.admin.bind);

  const auto given = load_text(
      std::string(kRoute) + "[admin]\nbind = \"*:1\"\ntoken_file = \"/t\"\nallow_hosts = [\"A.test\", \"[::2]\"]\n",
      "x");
  ASSERT_TRUE(given);
  EXPECT_TRUE(given->config.admin.bind_given);
  EXPECT_EQ(given->config.admin.token_file, "/t");
  EXPECT_THAT(given->config.admin.allow_hosts, ElementsAre("a.test", "[::2]"));
}

TEST(Load, WhereTheStoreIs) {
  const auto plain = load_text(kRoute, "x");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->config.memory.off);
  EXPECT_EQ(plain->config.memory.path, "");
  EXPECT_EQ(plain->config.memory.flush_interval, Milliseconds{1000});
  EXPECT_EQ(plain->config.memory.snapshots, 100U);

  for (const std::string text : {"", "off"}) {
    const auto off = load_text(std::string(kRoute) + "[memory]\npath = \"" + text + "\"\n", "x");
    ASSERT_TRUE(off) << text;
    EXPECT_TRUE(off->config.memory.off) << text;
    EXPECT_EQ(off->config.memory.path, "") << text;
  }

  const auto given =
      load_text(std::string(kRoute) + "[memory]\npath = \"/a/b\"\nflush_interval_ms = 10\nsnapshots = 3\n", "x");
  ASSERT_TRUE(given);
  EXPECT_FALSE(given->config.memory.off);
  EXPECT_EQ(given->config.memory.path, "/a/b");
  EXPECT_EQ(given->config.memory.flush_interval, Milliseconds{10});
  EXPECT_EQ(given->config.memory.snapshots, 3U);
}

TEST(Load, TheDefaultAdminAddressGivesWayToOtherListeners) {
  const auto loaded = load_text(server("bind = \"127.0.0.1:9901\""), "x");
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(loaded->config.admin.bind);
  const auto telemetry = load_text(std::string(kRoute) + "[telemetry]\nprometheus_bind = \"127.0.0.1:9901\"\n", "x");
  ASSERT_TRUE(telemetry);
  EXPECT_FALSE(telemetry->config.admin.bind);
}

TEST(Load, ListsAHundredErrorsAndCountsTheRest) {
  std::string text = "[server]\n";
  for (int i = 0; i < 250; ++i) text += "zz" + std::to_string(i) + " = 1\n";
  const auto loaded = load_text(text + std::string(kRoute), "x");
  ASSERT_FALSE(loaded);
  ASSERT_EQ(loaded.error().size(), 101U);
  EXPECT_EQ(loaded.error().back().message, "150 more are not listed");
}

TEST(Load, BoundsTheSizeAndDepthOfTheText) {
  const auto large = load_text(std::string(kMaxFileBytes + 1, '#'), "x");
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().front().message, "the file is too large");
  for (const std::string_view part : {"[", "{a=", "a.", "[a.", "[[", "\"\".", "a={b."}) {
    std::string bomb = "a = ";
    while (bomb.size() < 1'000'000) bomb += part;
    EXPECT_FALSE(load_text(bomb, "x")) << part;
    EXPECT_FALSE(load_text(bomb.substr(4), "x")) << part;
  }
  // Brackets and dots in strings and comments are no nesting.
  const std::string harmless =
      "# " + std::string(99, '[') + "\n" + server("via = \"" + std::string(99, '.') + "\" # \"[");
  EXPECT_TRUE(load_text(harmless, "x"));
}

TEST(LoadFile, SaysWhyAFileCannotBeRead) {
  const auto missing = load_file("/nonexistent/dao.toml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().front().message, "cannot open: No such file or directory");
  EXPECT_EQ(missing.error().front().line, 0U);
  const auto directory = load_file(std::filesystem::temp_directory_path());
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().front().message, "is a directory");
}

TEST(LoadFile, LoadsTheConfigsOfTheRepository) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    ++count;
    const auto loaded = load_file(entry.path());
    EXPECT_TRUE(loaded.has_value()) << entry.path() << ": " << (loaded ? "" : loaded.error().front().message);
    if (loaded) {
      EXPECT_THAT(loaded->warnings, IsEmpty()) << entry.path();
    }
  }
  EXPECT_GE(count, 2U);
}

}  // namespace
}  // namespace dao::config
