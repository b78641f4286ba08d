// The memory of nghttp2's sessions, from the free lists of rt::FramePool: a request costs nghttp2 some dozens of small
// blocks on either side, which come and go in the same sizes. Any thread; a session stays on one.
#pragma once

#include <nghttp2/nghttp2.h>

namespace dao::http::h2 {

// For nghttp2_session_*_new3, which copies what the pointer leads to.
nghttp2_mem* session_memory();

}  // namespace dao::http::h2
