# Sources of one target compiled together, ten at a time: most of their time goes into what the headers bring along.
# Everything in sanitizer builds; in release builds what no request passes through (COLD layers and sources, the programs, the
# tests), because the profile knows the functions of the others by their file. In debug builds each source by itself, so
# that a change costs that source alone.
set(DAO_UNITY "off" CACHE STRING "Compile the sources of a target together: off, cold (all but the request path's) or all")
if(NOT DAO_UNITY STREQUAL "off")
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 10)
endif()
# By themselves all the same: they have a name that a neighbour uses for something else.
set(dao_compiled_alone
    config/load_test config/use_checks_test http/h1/server_connection_test http/h2/connection_test liminal/mind_test liminal/presence_test
    memory/sqlite_store_test memory/store_test net/resolver_test telemetry/access_log_test upstream/pool_negotiation_test)
list(TRANSFORM dao_compiled_alone REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/src/dao/\\1.cpp")
set_source_files_properties(${dao_compiled_alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
