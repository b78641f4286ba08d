#include "dao/gate/tls_certificate.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace dao::gate {

namespace {

using BioPtr = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::expected<BioPtr, std::string> open(const std::string& path, std::string_view what) {
  BioPtr bio(BIO_new_file(path.c_str(), "r"), &BIO_free);
  if (bio) return bio;
  const int why = errno;
  ERR_clear_error();
  return std::unexpected("cannot read the " + std::string(what) + " " + path + ": " + std::strerror(why));
}

std::string lower(std::string_view text) {
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return lowered;
}

std::string text_of(const ASN1_STRING* string) {
  return lower({reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                static_cast<std::size_t>(ASN1_STRING_length(string))});
}

std::vector<std::string> names_of(X509* leaf) {
  std::vector<std::string> names;
  auto* alternatives = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr));
  if (alternatives != nullptr) {
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
      const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives, i);
      if (name->type == GEN_DNS) names.push_back(text_of(name->d.dNSName));
    }
    GENERAL_NAMES_free(alternatives);
    return names;
  }
  const X509_NAME* subject = X509_get_subject_name(leaf);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) names.push_back(text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
  return names;
}

std::time_t time_of(const ASN1_TIME* time) {
  std::tm broken{};
  return time != nullptr && ASN1_TIME_to_tm(time, &broken) == 1 ? timegm(&broken) : 0;
}

std::expected<void, std::string> read_ocsp(const std::string& path, Certificate& into) {
  auto bio = open(path, "OCSP response");
  if (!bio) return std::unexpected(bio.error());
  const auto refuse = [&path](std::string_view why) {
    ERR_clear_error();
    return std::unexpected("cannot use the OCSP response " + path + ": " + std::string(why));
  };
  const std::unique_ptr<OCSP_RESPONSE, decltype(&OCSP_RESPONSE_free)> response(
      d2i_OCSP_RESPONSE_bio(bio->get(), nullptr), &OCSP_RESPONSE_free);
  if (!response) return refuse("it is not one in DER form");
  if (OCSP_response_status(response.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) return refuse("it reports a failure");
  const std::unique_ptr<OCSP_BASICRESP, decltype(&OCSP_BASICRESP_free)> basic(OCSP_response_get1_basic(response.get()),
                                                                              &OCSP_BASICRESP_free);
  if (!basic) return refuse("it is not of the basic type");
  bool about_this = false;
  for (int i = 0; i < OCSP_resp_count(basic.get()); ++i) {
    OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), i);
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
    if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(into.leaf.get())) != 0) continue;
    about_this = true;
    ASN1_GENERALIZEDTIME* next = nullptr;
    OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next);
    into.ocsp_expires = time_of(next);
  }
  if (!about_this) return refuse("it is about another certificate");
  unsigned char* der = nullptr;
  const int size = i2d_OCSP_RESPONSE(response.get(), &der);
  if (size <= 0) return refuse("it cannot be written again");
  into.ocsp.assign(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return {};
}

}  // namespace

std::expected<Certificate, std::string> read_certificate(const config::CertificateFiles& files) {
  ERR_clear_error();
  Certificate read;
  auto bio = open(files.cert, "certificate");
  if (!bio) return std::unexpected(bio.error());
  read.leaf.reset(PEM_read_bio_X509_AUX(bio->get(), nullptr, nullptr, nullptr));
  if (!read.leaf) return std::unexpected("cannot use the certificate " + files.cert + ": " + net::take_tls_complaint());
  while (X509* next = PEM_read_bio_X509(bio->get(), nullptr, nullptr, nullptr)) read.chain.emplace_back(next);
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return std::unexpected("cannot use the chain in " + files.cert + ": " + net::take_tls_complaint());
  }
  ERR_clear_error();
  auto key_bio = open(files.key, "private key");
  if (!key_bio) return std::unexpected(key_bio.error());
  // A key with a passphrase cannot be asked for one here.
  const auto no_passphrase = [](char*, int, int, void*) { return 0; };
  read.key.reset(PEM_read_bio_PrivateKey(key_bio->get(), nullptr, no_passphrase, nullptr));
  if (!read.key) return std::unexpected("cannot use the private key " + files.key + ": " + net::take_tls_complaint());
  if (X509_check_private_key(read.leaf.get(), read.key.get()) != 1) {
    ERR_clear_error();
    return std::unexpected("the private key " + files.key + " does not belong to the certificate " + files.cert);
  }
  struct stat status{};
  read.key_is_open = stat(files.key.c_str(), &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)) != 0;
  read.names = names_of(read.leaf.get());
  read.expires = time_of(X509_get0_notAfter(read.leaf.get()));
  if (!files.ocsp.empty()) {
    if (const auto stapled = read_ocsp(files.ocsp, read); !stapled) return std::unexpected(stapled.error());
  }
  ERR_clear_error();
  return read;
}

}  // namespace dao::gate
