# Headers of others that most sources include, compiled once for all libraries and programs and once for all tests. Only
# for builds that also exist without (the release build shows that every source includes what it uses), and not under a
# compiler launcher: ccache would have to be told to overlook more than it should.
option(DAO_PRECOMPILED_HEADERS "Compile common headers of others once" OFF)
if(CMAKE_CXX_COMPILER_LAUNCHER)
  set(DAO_PRECOMPILED_HEADERS OFF)
endif()
set(dao_common_headers <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <coroutine> <cstddef> <cstdint> <cstring> <expected>
    <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <thread> <unordered_map> <utility>
    <vector> <fmt/format.h>)

# dao_precompile(TARGET FIRST [HEADERS...]): TARGET uses the common headers that FIRST has compiled, with flags that must
# be the same; FIRST itself compiles them, and HEADERS with them.
function(dao_precompile target first)
  if(NOT DAO_PRECOMPILED_HEADERS)
    return()
  endif()
  if(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE ${dao_common_headers} ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()
