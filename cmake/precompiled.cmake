# Headers of others that most sources include, compiled once for all libraries and programs and once for all tests. They let
# a source use what it does not include, which scripts/check-includes looks for. (Without DAO_PRECOMPILED_HEADERS tests still have the headers of their framework compiled: all of them include
# these.) Nothing is precompiled under a compiler launcher: ccache would have to be told to overlook more than it should.
option(DAO_PRECOMPILED_HEADERS "Compile common headers of others once" OFF)
set(dao_common_headers <algorithm> <array> <atomic> <charconv> <chrono> <cmath> <coroutine> <cstddef> <cstdint> <cstring> <expected>
    <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <thread> <unordered_map> <utility>
    <vector> <fmt/format.h> <nlohmann/json.hpp>)
set(dao_test_headers <gtest/gtest.h> <gmock/gmock.h>)
if(CMAKE_CXX_COMPILER_LAUNCHER)
  set(dao_common_headers)
  set(dao_test_headers)
elseif(NOT DAO_PRECOMPILED_HEADERS)
  set(dao_common_headers)
endif()

# dao_precompile(TARGET FIRST HEADERS...): TARGET uses the HEADERS as FIRST has compiled them, with flags that must be the
# same; FIRST itself compiles them.
function(dao_precompile target first)
  if(NOT ARGN)
    return()
  endif()
  if(target STREQUAL first)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  else()
    target_precompile_headers(${target} REUSE_FROM ${first})
  endif()
endfunction()
