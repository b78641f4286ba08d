// Makes a RequestHead of the fields of an HTTP/2 header block, so that it looks exactly like one that came by HTTP/1:
// the request is written down as an HTTP/1.1 head and read by the same strict parser, after everything was refused that
// could be read differently there (RFC 9113 sections 8.2.1 and 10.3). An extended CONNECT for a WebSocket (RFC 8441)
// becomes the GET with RequestHead::upgrade that it would be in HTTP/1; any other CONNECT is an error. One thread.
//
// SectionRules has already refused what is malformed by HTTP/2's own rules: upper case, connection-specific fields,
// pseudo-fields that are missing, repeated, unknown or late.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/error.h"
#include "dao/http/h2/hpack_decoder.h"
#include "dao/http/head.h"

namespace dao::http::h2 {

class RequestAssembler {
 public:
  explicit RequestAssembler(const HeadLimits& limits) : limits_(limits) {}

  // A header block begins; the one before is forgotten.
  void begin();
  // The next field of the block. False when the block has decoded to so much more than is allowed that the client
  // cannot mean it; until then what is too much is dropped, and finish() says so.
  bool add(const HpackField& field, FieldId id);

  // The block was a request. `head` must be clear; its text is kept in its arena. Errors as of parse_request_head:
  // Origin::client; `head` then holds what was understood of the start, for the log.
  Result<> finish(bool end_stream, RequestHead& head);
  // The block was a trailer section. `text` keeps what `trailers` refers to.
  Result<> finish_trailers(std::string& text, std::vector<Field>& trailers);

 private:
  void add_pseudo(std::string_view name, std::string_view value);
  void add_regular(std::string_view name, std::string_view value, FieldId id);
  [[nodiscard]] Result<> check_pseudo_fields() const;
  void mark_never_indexed(std::span<Field> fields) const;
  void forget_text();

  const HeadLimits& limits_;
  std::string method_;
  std::string scheme_;
  std::string authority_;
  std::string path_;
  std::string protocol_;  // of an extended CONNECT (RFC 8441)
  std::string host_;
  std::string cookie_;
  std::string fields_;         // lines, as HTTP/1 writes them
  std::string never_indexed_;  // names of such fields (Field::never_indexed), each with a ':' behind it
  bool has_authority_ = false;
  bool has_host_ = false;
  bool has_protocol_ = false;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;  // as if written in HTTP/1
  bool has_length_ = false;
};

}  // namespace dao::http::h2
