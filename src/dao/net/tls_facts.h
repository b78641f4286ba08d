// What a TLS connection agreed on, for headers, logs and decisions. Made once, when the handshake ends; read-only.
#pragma once

#include <string>
#include <string_view>

namespace dao::net {

struct TlsFacts {
  std::string_view version;  // "TLSv1.3"
  std::string_view cipher;   // IANA's name: "TLS_AES_128_GCM_SHA256"
  std::string alpn;          // the protocol chosen (RFC 7301), empty if none
  std::string server_name;   // what the client asked for (RFC 6066 section 3), in lower case; empty if nothing
  bool resumed = false;
  bool client_auth = false;    // server side: a client certificate was asked for
  std::string client_subject;  // RFC 2253, escaped to printable ASCII; empty: no certificate, or one without a subject
  std::string client_common_name;  // of the subject, UTF-8; empty if there is none
  bool client_verified = false;    // a client certificate came, and was accepted
};

}  // namespace dao::net
