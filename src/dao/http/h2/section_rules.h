// What HTTP/2 demands of the fields of a message (RFC 9113 sections 8.1 to 8.3, RFC 8441 section 4), judged one by one
// as they are decoded: pseudo-fields, names and values, fields of the connection, the length. One section at a time.
// One thread.
#pragma once

#include <cstdint>
#include <optional>

#include "dao/http/field_id.h"
#include "dao/http/h2/hpack_decoder.h"
#include "dao/http/h2/priority.h"

namespace dao::http::h2 {

enum class SectionKind : std::uint8_t { request, response, trailers };

class SectionRules {
 public:
  void begin(SectionKind kind);
  // False: the message is malformed, and the rest need not be added.
  bool add(const HpackField& field);
  // Which field that was.
  [[nodiscard]] FieldId id() const { return id_; }
  // After the last field. False: something is missing, or does not go together.
  [[nodiscard]] bool complete() const;

  // What was found in it.
  [[nodiscard]] bool is_head() const { return head_; }
  [[nodiscard]] bool is_tunnel() const { return connect_; }  // a CONNECT: what follows has no length
  [[nodiscard]] std::uint16_t status() const { return status_; }
  [[nodiscard]] bool interim() const { return status_ < 200; }  // of a response
  [[nodiscard]] std::optional<std::uint64_t> length() const { return length_; }
  [[nodiscard]] Priority priority() const { return priority_; }

 private:
  bool add_pseudo(const HpackField& field);
  bool add_length(std::string_view value);
  bool once(unsigned bit);

  SectionKind kind_ = SectionKind::request;
  FieldId id_ = FieldId::other;
  unsigned seen_ = 0;  // bits of the fields that may come once
  bool fields_began_ = false;
  bool head_ = false;
  bool connect_ = false;
  bool options_ = false;
  bool asterisk_ = false;
  std::uint16_t status_ = 0;
  std::optional<std::uint64_t> length_;
  Priority priority_;
};

}  // namespace dao::http::h2
