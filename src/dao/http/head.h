// The message model: request and response heads, whatever version they came by. Field names and values are views into
// the connection's buffer or into the head's own arena; they live until the exchange ends. One thread.
//
// Forwarding edits a head in place: fields are dropped by flag and appended, never copied.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "dao/http/field_id.h"

namespace dao::http {

struct Field {
  std::string_view name;
  std::string_view value;
  FieldId id = FieldId::other;
  bool dropped = false;  // not to be forwarded
  // Bytes of the whole line in the message, from name.data() to behind its CRLF, if it is spelled as we would spell it:
  // then it is passed on as it stands, together with its neighbours. Otherwise 0.
  std::uint32_t line_bytes = 0;
  // It came by HTTP/2, and so that it must be in nobody's table (RFC 7541 section 6.2.3): it goes on in the same way.
  bool never_indexed = false;

  // The line as it came no longer says what the field does.
  void replace_value(std::string_view replacement) {
    value = replacement;
    line_bytes = 0;
  }
};

// Text that a head needs beside the buffer it was parsed from. The first kilobyte is inline; clear() keeps it.
class Arena {
 public:
  std::string_view copy(std::string_view text) {
    char* to = allocate(text.size());
    text.copy(to, text.size());
    return {to, text.size()};
  }
  char* allocate(std::size_t size) {
    if (size <= first_.size() - used_) {
      char* result = first_.data() + used_;
      used_ += size;
      return result;
    }
    overflow_.push_back(std::make_unique<char[]>(size));
    return overflow_.back().get();
  }
  void clear() {
    used_ = 0;
    overflow_.clear();
  }

 private:
  std::array<char, 1024> first_;
  std::size_t used_ = 0;
  std::vector<std::unique_ptr<char[]>> overflow_;
};

// How the end of a body is known.
struct BodyFraming {
  enum class Kind : std::uint8_t { none, length, chunked, until_close };
  Kind kind = Kind::none;
  std::uint64_t length = 0;

  friend bool operator==(const BodyFraming&, const BodyFraming&) = default;
};

enum class Method : std::uint8_t { get, head, post, put, delete_, connect, options, trace, patch, other };

// RFC 9110 section 9.2.1: asking changes nothing.
constexpr bool is_safe(Method method) {
  return method == Method::get || method == Method::head || method == Method::options || method == Method::trace;
}
// RFC 9110 section 9.2.2: asking twice is asking once.
constexpr bool is_idempotent(Method method) {
  return is_safe(method) || method == Method::put || method == Method::delete_;
}

struct Head {
  std::vector<Field> fields;
  Arena arena;
  std::uint8_t version_major = 1;  // of the message as received
  std::uint8_t version_minor = 1;
  BodyFraming framing;
  bool keep_alive = true;  // the sender means to go on after this message

  void add(std::string_view name, std::string_view value, FieldId id = FieldId::other) {
    fields.push_back({name, value, id, false});
  }
  // The first such field that is not dropped; null if there is none. O(fields).
  [[nodiscard]] const Field* find(FieldId id) const {
    for (const Field& field : fields) {
      if (field.id == id && !field.dropped) return &field;
    }
    return nullptr;
  }
  [[nodiscard]] const Field* find(std::string_view name) const {
    for (const Field& field : fields) {
      if (!field.dropped && equals_ignoring_case(field.name, name)) return &field;
    }
    return nullptr;
  }
  void clear() {
    fields.clear();
    arena.clear();
    version_major = version_minor = 1;
    framing = {};
    keep_alive = true;
  }
};

// What a request asks to change its connection to (RFC 9110 section 7.8), if DAO can relay it.
enum class Upgrade : std::uint8_t { none, websocket };

struct RequestHead : Head {
  Method method = Method::get;
  std::string_view method_text;
  std::string_view target;     // as received
  std::string_view path;       // origin form: path and query ("*" for OPTIONS *); what is forwarded
  std::string_view authority;  // host[:port] of the absolute form or of Host; may be empty
  bool absolute_form = false;
  bool expect_continue = false;
  // HTTP/1.1: a well-formed Upgrade (http/websocket_handshake.h). HTTP/2 says so for its extended CONNECT (RFC 8441),
  // which it makes a GET.
  Upgrade upgrade = Upgrade::none;

  void clear() {
    Head::clear();
    method = Method::get;
    method_text = target = path = authority = {};
    absolute_form = expect_continue = false;
    upgrade = Upgrade::none;
  }
};

struct ResponseHead : Head {
  std::uint16_t status = 0;
  std::string_view reason;

  void clear() {
    Head::clear();
    status = 0;
    reason = {};
  }
};

struct HeadLimits {
  std::size_t target_max_bytes = 8192;
  std::size_t head_max_bytes = 32768;  // start line and fields
  std::size_t fields_max = 100;
};

}  // namespace dao::http
