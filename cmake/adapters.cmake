# A target for each adapter, which exists where its dependency does; towpath::towpath never needs one of them. Read by
# this project's build and, installed, by find_package(towpath).
if(NOT TARGET towpath::json)
  find_package(nlohmann_json 3.10 QUIET)
  if(nlohmann_json_FOUND)
    add_library(towpath_json INTERFACE)
    add_library(towpath::json ALIAS towpath_json)
    target_link_libraries(towpath_json INTERFACE towpath::towpath nlohmann_json::nlohmann_json)
  endif()
endif()

# The target that brings what a header of adapters/ needs.
set(towpath_adapter_compression towpath::compression)
set(towpath_adapter_json towpath::json)
set(towpath_adapter_msgpack towpath::json)
set(towpath_adapter_cbor towpath::json)
