#include "dao/check/certificates.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

#include "dao/net/tls_test_certificates.h"

namespace dao::check {
namespace {

using net::test::Identity;
using net::test::make_identity;
using net::test::write_file;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr long kDay = 24 * 3600;

class CertificatesTest : public testing::Test {
 protected:
  CertificatesTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dao_certificates_test_XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
  }
  ~CertificatesTest() override { std::filesystem::remove_all(dir_); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  std::string put(const std::string& name, const std::string& text) const {
    write_file(path(name), text);
    chmod(path(name).c_str(), 0600);
    return path(name);
  }
  // NAME.pem and NAME.key.
  Identity put(const std::string& name, long valid_seconds) const {
    Identity identity = make_identity({.valid_seconds = valid_seconds});
    put(name + ".pem", identity.certificate_pem());
    put(name + ".key", identity.key_pem());
    return identity;
  }
  // "SEVERITY KEY: MESSAGE", without the directory.
  std::vector<std::string> check(const std::string& text) const {
    const auto loaded = config::load_text(text, "x");
    if (!loaded) return {loaded.error().front().message};
    std::vector<std::string> lines;
    for (const config::Diagnostic& one : check_certificates(loaded->config, std::time(nullptr))) {
      std::string line =
          fmt::format("{} {}: {}", one.severity == config::Severity::error ? "error" : "warning", one.key, one.message);
      for (std::size_t at = 0; (at = line.find(dir_.string() + "/", at)) != std::string::npos;) {
        line.erase(at, dir_.string().size() + 1);
      }
      lines.push_back(line);
    }
    return lines;
  }
  std::vector<std::string> check_pair(const std::string& cert, const std::string& key) const {
    return check(fmt::format("[server]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n{}", path(cert), path(key), kRoute));
  }
  std::string listener(const std::string& more) const {
    return fmt::format(
        "[[server.listener]]\nname = \"l\"\nbind = \":1\"\n[server.listener.tls]\n{}\n"
        "[[server.listener.tls.certificates]]\ncert = \"{}\"\nkey = \"{}\"\n{}",
        more, path("a.pem"), path("a.key"), kRoute);
  }
  std::string upstream(const std::string& lines) const {
    return "[[routes.rule]]\nname = \"r\"\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"https://h\"\n" + lines;
  }

  static constexpr std::string_view kRoute =
      "[[routes.rule]]\nname = \"r\"\nupstreams = [{ name = \"u\", url = \"http://h\" }]\n";
  std::filesystem::path dir_;
};

TEST_F(CertificatesTest, WhatIsGoodIsNotMentioned) {
  const Identity identity = put("a", 90 * kDay);
  put("ca.pem", identity.certificate_pem());
  EXPECT_THAT(check_pair("a.pem", "a.key"), IsEmpty());
  EXPECT_THAT(check(listener(fmt::format("client_auth = \"required\"\nclient_ca = \"{}\"", path("ca.pem")))),
              IsEmpty());
  EXPECT_THAT(check(upstream(fmt::format("tls_ca = \"{}\"\ntls_cert = \"{}\"\ntls_key = \"{}\"\n", path("ca.pem"),
                                         path("a.pem"), path("a.key")))),
              IsEmpty());
  EXPECT_THAT(check(upstream("")), IsEmpty());
  EXPECT_THAT(check(std::string(kRoute)), IsEmpty());
}

TEST_F(CertificatesTest, AKeyOfAnotherCertificateIsAnError) {
  put("a", 90 * kDay);
  put("b", 90 * kDay);
  EXPECT_THAT(check_pair("a.pem", "b.key"),
              ElementsAre("error server.tls_cert: the private key b.key does not belong to the certificate a.pem"));
  EXPECT_THAT(check(upstream(fmt::format("tls_cert = \"{}\"\ntls_key = \"{}\"\n", path("a.pem"), path("b.key")))),
              ElementsAre("error routes.rule[0].upstreams[0].tls_cert: the private key b.key does not belong to the "
                          "certificate a.pem"));
}

TEST_F(CertificatesTest, ExpiryIsAWarningThirtyDaysBefore) {
  put("gone", -kDay);
  put("today", kDay / 2);
  put("soon", 29 * kDay + 60);
  put("later", 31 * kDay);
  EXPECT_THAT(check_pair("gone.pem", "gone.key"),
              ElementsAre(StartsWith("warning server.tls_cert: the certificate gone.pem has expired on 2")));
  EXPECT_THAT(check_pair("today.pem", "today.key"),
              ElementsAre(AllOf(HasSubstr(" expires on "), HasSubstr("within a day"))));
  EXPECT_THAT(check_pair("soon.pem", "soon.key"),
              ElementsAre(AllOf(HasSubstr(" expires on "), HasSubstr(", in 29 days"))));
  EXPECT_THAT(check_pair("later.pem", "later.key"), IsEmpty());
  const Identity leaf = put("leaf", 90 * kDay);
  const Identity issuer = make_identity({.valid_seconds = 3 * kDay + 60});
  put("chain.pem", leaf.certificate_pem() + issuer.certificate_pem());
  EXPECT_THAT(
      check_pair("chain.pem", "leaf.key"),
      ElementsAre(AllOf(HasSubstr("certificate 2 of the chain in chain.pem expires on "), HasSubstr("in 3 days"))));
}

TEST_F(CertificatesTest, FilesThatAreNotThereOrNoCertificates) {
  put("a", 90 * kDay);
  put("junk", "junk");
  EXPECT_THAT(check_pair("no.pem", "no.key"),
              ElementsAre("error server.tls_cert: cannot read no.pem: No such file or directory",
                          "error server.tls_key: cannot read no.key: No such file or directory"));
  EXPECT_THAT(check_pair("junk", "a.key"),
              ElementsAre(HasSubstr("error server.tls_cert: cannot use the certificate junk")));
  EXPECT_THAT(check_pair("a.pem", "junk"), ElementsAre(HasSubstr("cannot use the private key junk")));
  EXPECT_THAT(check(listener(fmt::format("client_auth = \"required\"\nclient_ca = \"{}\"", path("junk")))),
              ElementsAre(StartsWith("error server.listener[0].tls: TLS of the listener l: junk: ")));
  EXPECT_THAT(check(listener(fmt::format("client_auth = \"required\"\nclient_ca = \"{}\"", path("no.pem")))),
              ElementsAre("error server.listener[0].tls.client_ca: cannot read no.pem: No such file or directory"));
  EXPECT_THAT(check(listener("ciphers = \"nonsense\"")), ElementsAre(HasSubstr("TLS of the listener l: ciphers: ")));
  EXPECT_THAT(check(upstream(fmt::format("tls_ca = \"{}\"\n", path("junk")))),
              ElementsAre(StartsWith("error routes.rule[0].upstreams[0].tls_ca: cannot load certificate authorities")));
}

TEST_F(CertificatesTest, AKeyThatEverybodyMayRead) {
  put("a", 90 * kDay);
  chmod(path("a.key").c_str(), 0644);
  EXPECT_THAT(check_pair("a.pem", "a.key"),
              ElementsAre("warning server.tls_key: every user of this machine may read the private key a.key"));
}

TEST_F(CertificatesTest, AFileOfManyIsMentionedOnce) {
  put("gone", -kDay);
  std::string text;
  for (int i = 1; i <= 3; ++i) {
    text += fmt::format(
        "[[server.listener]]\nname = \"l{0}\"\nbind = \":{0}\"\n[[server.listener.tls.certificates]]\ncert = \"{1}\"\n"
        "key = \"{2}\"\n",
        i, path("gone.pem"), path("gone.key"));
  }
  EXPECT_THAT(check(text + std::string(kRoute)),
              ElementsAre(HasSubstr("server.listener[0].tls.certificates[0].cert: ")));
}

}  // namespace
}  // namespace dao::check
