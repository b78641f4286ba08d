// The bytes of a fuzz input as numbers and pieces, taken from the front.
#pragma once

#include <cstddef>
#include <string_view>

namespace dao::fuzz {

class Input {
 public:
  explicit Input(std::string_view bytes) : left_(bytes) {}
  [[nodiscard]] bool empty() const { return left_.empty(); }
  [[nodiscard]] std::string_view left() const { return left_; }
  unsigned byte() {  // 0 when none is left
    if (left_.empty()) return 0;
    const auto value = static_cast<unsigned char>(left_.front());
    left_.remove_prefix(1);
    return value;
  }
  std::string_view take(std::size_t size) {  // or what is left
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view left_;
};

}  // namespace dao::fuzz
