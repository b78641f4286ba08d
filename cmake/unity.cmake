# Sources of one target compiled together: most of their time goes into what the headers bring along. Not in debug builds:
# there each source is by itself, so that a change costs that source alone.
option(DAO_UNITY "Compile the sources of a target together" OFF)
set(CMAKE_UNITY_BUILD ${DAO_UNITY})
set(CMAKE_UNITY_BUILD_BATCH_SIZE 10)

# By themselves all the same: they have a name that a neighbour uses for something else.
set(dao_compiled_alone
    config/load_test config/use_checks_test http/h1/server_connection_test http/h2/connection_test liminal/mind_test liminal/presence_test
    memory/sqlite_store_test memory/store_test net/resolver_test telemetry/access_log_test upstream/pool_negotiation_test)
list(TRANSFORM dao_compiled_alone REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/src/dao/\\1.cpp")
set_source_files_properties(${dao_compiled_alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

# dao_unity_groups(TARGET SOURCES...): the profile (cmake/profile.cmake) knows functions by the file that they were compiled in,
# so that a new source must not move others to another one. A group is a folder or, if that has many sources, those of
# some first letters.
function(dao_unity_groups target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
  set(many 15)
  foreach(source ${ARGN})
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(GET source STEM name)
    file(GLOB neighbours ${folder}/*.cpp)
    list(FILTER neighbours EXCLUDE REGEX "_(test|bench)\\.cpp$")
    list(LENGTH neighbours count)
    file(RELATIVE_PATH group ${CMAKE_SOURCE_DIR}/src/dao ${folder})
    string(REPLACE "/" "_" group ${group})
    if(count GREATER many)
      foreach(letters a-l m-z)
        if(name MATCHES "^[${letters}]")
          string(APPEND group "_${letters}")
        endif()
      endforeach()
    endif()
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
  endforeach()
endfunction()
