# Profile-guided optimisation of release builds: the compiler lays out, inlines and splits code as request-path.profdata
# says it is used. What docs/performance.md says of it was measured; CONTRIBUTING.md says when to record it anew. Code that
# changed since is compiled as if nothing were known of it.
set(DAO_PROFILE "use" CACHE STRING "Profile of release builds: use, record (a program that writes one when it ends) or off")

if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT DAO_SANITIZE AND NOT DAO_PROFILE STREQUAL "off")
  # Functions of one file are told apart by its name (of several that are compiled together: cmake/unity.cmake), without the folder
  # of the build.
  add_compile_options("SHELL:-mllvm -static-func-full-module-prefix=false")
  if(DAO_PROFILE STREQUAL "record")
    add_compile_options(-fprofile-generate)
    add_link_options(-fprofile-generate)
  else()
    # Its name holds what is in it, so that everything is compiled anew when it changes.
    set(profile ${CMAKE_SOURCE_DIR}/cmake/request-path.profdata)
    file(SHA256 ${profile} profile_hash)
    string(SUBSTRING ${profile_hash} 0 12 profile_hash)
    set(profile_copy ${CMAKE_BINARY_DIR}/request-path-${profile_hash}.profdata)
    configure_file(${profile} ${profile_copy} COPYONLY)
    add_compile_options(-fprofile-use=${profile_copy} -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date
                        -Wno-backend-plugin)
  endif()
endif()
