# One place for compile and link flags, so that every target is built the same way.
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
                    -Woverloaded-virtual -Wimplicit-fallthrough -Wextra-semi -Werror)
add_compile_options(-fno-omit-frame-pointer -fstack-protector-strong -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_compile_options(-pthread)  # of all, because precompiled headers are for one set of flags
add_link_options(-fuse-ld=lld -Wl,-z,relro,-z,now)

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

# One translation unit's small functions are the request path of another: link-time optimisation is worth about a tenth of our
# own CPU time per request. Objects hold machine code beside what is for that, because the unit tests are many programs of
# the same libraries: optimised anew at each of their links, those would be a sixth of the build. What no request passes
# through does without: layers that are COLD, the sources of the programs, and daoctl and dao-upstream altogether.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT DAO_SANITIZE)
  add_compile_options(-flto=thin -ffat-lto-objects)
  add_link_options(-flto=thin -ffat-lto-objects -Wl,--thinlto-cache-dir=${CMAKE_BINARY_DIR}/thinlto-cache)
  set(dao_without_link_time_optimisation -fno-lto -fno-fat-lto-objects)
  set(CMAKE_AR llvm-ar-19)
  set(CMAKE_RANLIB llvm-ranlib-19)
endif()

if(DAO_SANITIZE)
  add_compile_options(-fsanitize=${DAO_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${DAO_SANITIZE})
  add_compile_definitions(DAO_SANITIZED=1)
  # Reports need lines, not variables, and those would be a quarter of the time to compile.
  set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g1")
endif()
if(DAO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
