# The libraries behind <towpath/adapters/compression.hpp>. Used by this project and, installed, by its package: there is no
# one way in which zlib, snappy, lz4 and zstd can all be found, so headers and libraries are looked for by name.

# Sets towpath_compression_missing to the names of those that are not there. Says nothing.
function(towpath_find_compression)
  set(missing "")
  foreach(each IN ITEMS "zlib,zlib.h,z" "snappy,snappy-c.h,snappy" "lz4,lz4frame.h,lz4" "zstd,zstd.h,zstd")
    string(REPLACE "," ";" each "${each}")
    list(GET each 0 name)
    list(GET each 1 header)
    list(GET each 2 library)
    find_path(towpath_${name}_include "${header}")
    find_library(towpath_${name}_library "${library}")
    mark_as_advanced(towpath_${name}_include towpath_${name}_library)
    if(NOT towpath_${name}_include OR NOT towpath_${name}_library)
      list(APPEND missing "${name}")
    endif()
  endforeach()
  set(towpath_compression_missing "${missing}" PARENT_SCOPE)
endfunction()

# Gives them to an interface target. Only when none is missing.
function(towpath_use_compression target)
  foreach(name zlib snappy lz4 zstd)
    target_include_directories(${target} SYSTEM INTERFACE "${towpath_${name}_include}")
    target_link_libraries(${target} INTERFACE "${towpath_${name}_library}")
  endforeach()
endfunction()
