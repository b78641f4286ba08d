#include "dao/http/websocket_handshake.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <cstdint>
#include <string>

#include "dao/http/h1/syntax.h"

namespace dao::http {

namespace {

constexpr std::string_view kVersion = "Sec-WebSocket-Version";

// The only field of this name; null if there is none, or more than one.
const Field* only(const Head& head, std::string_view name) {
  const Field* found = nullptr;
  for (const Field& field : head.fields) {
    if (field.dropped || !equals_ignoring_case(field.name, name)) continue;
    if (found != nullptr) return nullptr;
    found = &field;
  }
  return found;
}

bool lists(const Head& head, FieldId id, std::string_view wanted) {
  bool listed = false;
  for (const Field& field : head.fields) {
    if (field.id != id) continue;
    h1::for_each_element(field.value, [&](std::string_view element) {
      if (equals_ignoring_case(element, wanted)) listed = true;
    });
  }
  return listed;
}

}  // namespace

bool asks_for_websocket(const RequestHead& head) {
  if (head.method != Method::get || head.version_minor == 0 || head.framing.kind != BodyFraming::Kind::none) {
    return false;
  }
  if (!lists(head, FieldId::connection, "upgrade") || !lists(head, FieldId::upgrade, "websocket")) return false;
  const Field* const key = only(head, kWebSocketKey);
  return key != nullptr && !key->value.empty() && only(head, kVersion) != nullptr;
}

void ensure_websocket_key(RequestHead& head, Random& random) {
  if (head.find(kWebSocketKey) != nullptr) return;
  std::array<unsigned char, 16> nonce;  // it need not be a secret, only not be cached (section 10.3)
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<unsigned char>(random.next() >> 56U);
  std::array<unsigned char, 25> text;  // base64 of 16 bytes, and the NUL that EVP_EncodeBlock adds
  const int size = EVP_EncodeBlock(text.data(), nonce.data(), static_cast<int>(nonce.size()));
  head.add(kWebSocketKey,
           head.arena.copy({reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(size)}));
  if (head.find(kVersion) == nullptr) head.add(kVersion, "13");
}

std::array<char, 28> websocket_accept(std::string_view key) {
  std::string text{key};
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::array<unsigned char, 29> encoded;
  EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(digest.size()));
  std::array<char, 28> accept;
  for (std::size_t i = 0; i < accept.size(); ++i) accept[i] = static_cast<char>(encoded[i]);
  return accept;
}

Result<> check_websocket_answer(const RequestHead& request, const ResponseHead& answer) {
  const auto refuse = [](std::string_view why) {
    return std::unexpected(
        Error{.origin = Origin::backend, .kind = ErrorKind::unexpected_upgrade, .sent = Sent::maybe, .detail = why});
  };
  if (answer.version_minor == 0) return refuse("101 in HTTP/1.0 (RFC 9110 7.8)");
  if (!lists(answer, FieldId::connection, "upgrade")) return refuse("101 without Connection: Upgrade (RFC 6455 4.1)");
  const Field* const upgrade = only(answer, "Upgrade");
  if (upgrade == nullptr || !equals_ignoring_case(upgrade->value, "websocket")) {
    return refuse("101 to another protocol than websocket (RFC 6455 4.1)");
  }
  const Field* const key = request.find(kWebSocketKey);
  const Field* const accept = only(answer, kWebSocketAccept);
  if (key == nullptr || accept == nullptr) return refuse("101 without one Sec-WebSocket-Accept (RFC 6455 4.1)");
  const std::array<char, 28> expected = websocket_accept(key->value);
  if (accept->value != std::string_view{expected.data(), expected.size()}) {
    return refuse("101 with a wrong Sec-WebSocket-Accept (RFC 6455 4.1)");
  }
  return {};
}

void become_connect_answer(ResponseHead& answer) {
  answer.status = 200;
  for (Field& field : answer.fields) {
    // A length would be taken for that of all that is to come.
    if (field.id == FieldId::content_length || equals_ignoring_case(field.name, kWebSocketAccept)) field.dropped = true;
  }
}

}  // namespace dao::http
