// Any bytes as header blocks of one connection: our decoder and nghttp2's read the same fields or both refuse, and what
// was read is understood by both when our encoder has written it anew, whatever the peer says of its table meanwhile.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/http/field_id.h"
#include "dao/http/h2/hpack_test_fields.h"
#include "input.h"
#include "oracle.h"

using namespace dao;
using namespace dao::http::h2;

namespace {

// The encoder writes names in lower case.
TestFields in_lower_case(TestFields fields) {
  for (auto& [name, value] : fields) std::ranges::transform(name, name.begin(), http::to_lower);
  return fields;
}

}  // namespace

// For each block: its size (two bytes), what the encoder hears of its peer's table before it (one byte; 255: nothing),
// the block.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  fuzz::Input input({reinterpret_cast<const char*>(data), size});
  constexpr std::uint32_t kTable = 4096;
  constexpr unsigned kNoChange = 255;
  HpackDecoder decoder(kTable);
  ReferenceDecoder reference(kTable);
  HpackEncoder encoder;
  HpackDecoder decoder_behind(kTable);
  ReferenceDecoder reference_behind(kTable);
  while (!input.empty()) {
    const std::size_t upper = input.byte();
    const std::size_t block_size = upper << 8U | input.byte();
    if (const unsigned change = input.byte(); change != kNoChange) {
      const std::uint32_t bytes = std::min(change * 20, kTable);
      encoder.set_table_max(bytes);
      reference_behind.set_table_max(bytes);
    }
    // A copy as long as the block, so that reading beyond it is seen.
    const std::string_view part = input.take(block_size);
    const std::vector<char> copy(part.begin(), part.end());
    const std::string_view block{copy.data(), copy.size()};
    const std::optional<TestFields> fields = decode_block(decoder, block);
    fuzz::check(fields == reference.decode(block), "both decoders read the same or refuse");
    if (!fields) return 0;
    const TestFields written = in_lower_case(*fields);
    const std::string again = encode_block(encoder, *fields);
    fuzz::check(reference_behind.decode(again) == written, "the reference reads what was written");
    fuzz::check(decode_block(decoder_behind, again) == written, "our decoder reads what was written");
  }
  return 0;
}
