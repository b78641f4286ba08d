# A layer is the folder src/dao/NAME: a static library dao_NAME from its *.cpp, a test program from its *_test.cpp and a
# micro-benchmark program from its *_bench.cpp.
#
# Include boundaries: each layer's headers are reachable only through its own include root (build/include/NAME holds one
# link, dao/NAME), which is a PUBLIC include directory of dao_NAME. So a target can include "dao/NAME/x.h" only when
# it links dao_NAME, directly or through a layer below it.
function(dao_layer name)
  cmake_parse_arguments(arg "COLD" "" "LAYERS;LIBRARIES;TEST_LIBRARIES" ${ARGN})
  set(folder ${CMAKE_SOURCE_DIR}/src/dao/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  set(tests ${sources})
  set(benches ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  list(FILTER benches INCLUDE REGEX "_bench\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cpp$")

  set(include_root ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${include_root}/dao)
  file(CREATE_LINK ${folder} ${include_root}/dao/${name} SYMBOLIC)

  list(TRANSFORM arg_LAYERS PREPEND dao_)
  if(sources)
    add_library(dao_${name} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(dao_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(dao_${name} ${scope} ${include_root})
  target_link_libraries(dao_${name} ${scope} ${arg_LAYERS} ${arg_LIBRARIES})
  if(sources)
    dao_precompile(dao_${name} dao_base ${dao_common_headers})
    if(arg_COLD)
      target_compile_options(dao_${name} PRIVATE ${dao_without_link_time_optimisation})
    endif()
  endif()

  if(DAO_TESTS AND tests)
    add_executable(dao_${name}_test ${tests})
    target_link_libraries(dao_${name}_test PRIVATE dao_${name} ${arg_TEST_LIBRARIES} GTest::gmock GTest::gtest_main)
    set_target_properties(dao_${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_compile_options(dao_${name}_test PRIVATE ${dao_without_link_time_optimisation})
    target_link_options(dao_${name}_test PRIVATE ${dao_without_link_time_optimisation})
    if(DAO_FUZZ)
      target_compile_options(dao_${name}_test PRIVATE -fno-sanitize=fuzzer-no-link)
    endif()
    # Tests take longest to optimise, and it is the code under test that must be as it ships: the libraries, and what tests
    # instantiate themselves from the headers of coroutines (rt) and of words shared by threads (sense). Those of liminal
    # simulate hours.
    if(name MATCHES "^(rt|sense|liminal)$")
      dao_precompile(dao_${name}_test dao_rt_test ${dao_common_headers} ${dao_test_headers})
    else()
      target_compile_options(dao_${name}_test PRIVATE -O0)
      dao_precompile(dao_${name}_test dao_base_test ${dao_common_headers} ${dao_test_headers})
    endif()
    add_test(NAME unit.${name} COMMAND dao_${name}_test)
    set_tests_properties(unit.${name} PROPERTIES ENVIRONMENT "DAO_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
  endif()
  if(DAO_BENCHMARKS AND benches)
    add_executable(dao_${name}_bench ${benches})
    target_link_libraries(dao_${name}_bench PRIVATE dao_${name} benchmark::benchmark benchmark::benchmark_main)
    set_target_properties(dao_${name}_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  endif()
endfunction()
