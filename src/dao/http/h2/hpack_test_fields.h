// For tests: header blocks as lists of fields, by our codec and by nghttp2's, which is the reference.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/http/h2/hpack_decoder.h"
#include "dao/http/h2/hpack_encoder.h"

namespace dao::http::h2 {

using TestFields = std::vector<std::pair<std::string, std::string>>;

// Nothing: an error.
inline std::optional<TestFields> decode_block(HpackDecoder& decoder, std::string_view block) {
  TestFields fields;
  HpackField field;
  decoder.begin(block);
  for (;;) {
    switch (decoder.next(field)) {
      case HpackDecoder::Step::field:
        fields.emplace_back(field.name, field.value);
        break;
      case HpackDecoder::Step::end:
        return fields;
      case HpackDecoder::Step::error:
        return std::nullopt;
    }
  }
}

inline std::string encode_block(HpackEncoder& encoder, const TestFields& fields) {
  std::string block(HpackEncoder::kBlockStartMost, '\0');
  block.resize(static_cast<std::size_t>(encoder.begin_block(block.data()) - block.data()));
  for (const auto& [name, value] : fields) {
    const std::size_t before = block.size();
    block.resize(before + HpackEncoder::most_bytes(name, value));
    block.resize(static_cast<std::size_t>(encoder.add(name, value, block.data() + before) - block.data()));
  }
  return block;
}

class ReferenceDecoder {
 public:
  explicit ReferenceDecoder(std::size_t table_max_bytes = 4096) {
    nghttp2_hd_inflate_new(&inflater_);
    set_table_max(table_max_bytes);
  }
  ReferenceDecoder(const ReferenceDecoder&) = delete;
  ReferenceDecoder& operator=(const ReferenceDecoder&) = delete;
  ~ReferenceDecoder() { nghttp2_hd_inflate_del(inflater_); }

  void set_table_max(std::size_t bytes) { nghttp2_hd_inflate_change_table_size(inflater_, bytes); }

  std::optional<TestFields> decode(std::string_view block) {
    TestFields fields;
    const auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
    std::size_t left = block.size();
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t read = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
      if (read < 0) return std::nullopt;
      at += read;
      left -= static_cast<std::size_t>(read);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0)
        fields.emplace_back(text(field.name, field.namelen), text(field.value, field.valuelen));
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        return fields;
      }
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) return std::nullopt;
    }
  }
  [[nodiscard]] std::size_t table_size() const { return nghttp2_hd_inflate_get_dynamic_table_size(inflater_); }

 private:
  static std::string text(const std::uint8_t* at, std::size_t size) {
    return {reinterpret_cast<const char*>(at), size};
  }
  nghttp2_hd_inflater* inflater_ = nullptr;
};

class ReferenceEncoder {
 public:
  // It uses no more than so many bytes of the peer's table.
  explicit ReferenceEncoder(std::size_t table_most = 4096) { nghttp2_hd_deflate_new(&deflater_, table_most); }
  ReferenceEncoder(const ReferenceEncoder&) = delete;
  ReferenceEncoder& operator=(const ReferenceEncoder&) = delete;
  ~ReferenceEncoder() { nghttp2_hd_deflate_del(deflater_); }

  void set_table_max(std::size_t bytes) { nghttp2_hd_deflate_change_table_size(deflater_, bytes); }

  // `never_indexed` is for all of them.
  std::string encode(const TestFields& fields, bool never_indexed = false) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({bytes(name), bytes(value), name.size(), value.size(),
                      static_cast<std::uint8_t>(never_indexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)});
    }
    std::string block(nghttp2_hd_deflate_bound(deflater_, list.data(), list.size()), '\0');
    const ssize_t size = nghttp2_hd_deflate_hd(deflater_, bytes(block), block.size(), list.data(), list.size());
    block.resize(static_cast<std::size_t>(size));
    return block;
  }

 private:
  static std::uint8_t* bytes(const std::string& text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  }
  nghttp2_hd_deflater* deflater_ = nullptr;
};

// As heads are: mostly what came before, names of both tables and of none, text of all kinds.
inline TestFields random_fields(std::mt19937& random) {
  static constexpr std::array<std::string_view, 24> kNames = {":method",
                                                              ":path",
                                                              ":status",
                                                              ":authority",
                                                              "accept",
                                                              "accept-encoding",
                                                              "age",
                                                              "authorization",
                                                              "content-length",
                                                              "content-type",
                                                              "cookie",
                                                              "date",
                                                              "etag",
                                                              "host",
                                                              "location",
                                                              "set-cookie",
                                                              "te",
                                                              "user-agent",
                                                              "via",
                                                              "x-a",
                                                              "x-request-id",
                                                              "x-forwarded-for",
                                                              "x-a-name-of-some-length-in-lower-case",
                                                              "www-authenticate"};
  const auto text = [&random] {
    const std::size_t size = random() % 20 == 0 ? random() % 5000 : random() % 50;
    const bool any_byte = random() % 5 == 0;
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(any_byte ? random() : ' ' + random() % 95);
    return bytes;
  };
  TestFields fields(random() % 20);
  for (auto& [name, value] : fields) {
    const std::uint32_t kind = random() % 20;
    name = kNames[random() % kNames.size()];
    if (kind == 0) {
      name = "x-" + std::to_string(random() % 1000);
    } else if (kind == 1) {
      for (char& c : name = text()) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    value = random() % 3 == 0 ? text() : std::to_string(random() % 10);
  }
  return fields;
}

// "82 86 0a" as bytes.
inline std::string from_hex(std::string_view hex) {
  std::string bytes;
  int high = -1;
  for (const char c : hex) {
    if (c == ' ') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (high >= 0) bytes += static_cast<char>(high * 16 + digit);
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

}  // namespace dao::http::h2
