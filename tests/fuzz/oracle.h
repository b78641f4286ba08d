// What the fuzz targets share: a check that ends the program, and heads written back as text.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "dao/http/head.h"

namespace dao::fuzz {

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "the oracle says: %s\n", what);
  std::abort();
}

inline std::string fields_text(std::span<const http::Field> fields) {
  std::string text;
  for (const http::Field& field : fields) {
    if (field.dropped) continue;
    text += field.name;
    text += ": ";
    text += field.value;
    text += "\r\n";
  }
  return text;
}

inline std::string request_text(const http::RequestHead& head, std::string_view target) {
  return std::string{head.method_text} + " " + std::string{target} + " HTTP/1." +
         static_cast<char>('0' + head.version_minor) + "\r\n" + fields_text(head.fields) + "\r\n";
}

}  // namespace dao::fuzz
