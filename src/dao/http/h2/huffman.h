// The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), used by string literals. Any thread.
#pragma once

#include <cstddef>
#include <string_view>

namespace dao::http::h2 {

// The bytes of `text` when encoded.
std::size_t huffman_size(std::string_view text);

// So many bytes behind what they return, the functions below write at most, since they write words.
inline constexpr std::size_t kHuffmanBeyond = 24;

// Writes `text` encoded, huffman_size(text) bytes, and returns the end of it. The caller has room for kHuffmanBeyond
// bytes more.
char* huffman_encode(std::string_view text, char* at);

// The same when the result is shorter than `text`; null otherwise. The caller has room for kHuffmanBeyond bytes more
// than `text` has.
char* huffman_encode_shorter(std::string_view text, char* at);

// The room that huffman_decode needs: no code has less than five bits, and it may write a byte too many.
constexpr std::size_t huffman_decoded_most(std::size_t coded_bytes) {
  return coded_bytes * 8 / 5 + 1;
}

// Writes what `coded` stands for and returns the end of it; null when it is not valid: the code of EOS in it, or
// padding that is longer than seven bits or not the beginning of EOS. The caller has room for huffman_decoded_most
// bytes.
char* huffman_decode(std::string_view coded, char* at);

}  // namespace dao::http::h2
