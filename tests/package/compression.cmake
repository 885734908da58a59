# Run by ctest: the installed package with and without the libraries of its component compression.
set(dir "${BUILD}/package/compression")
file(REMOVE_RECURSE "${dir}")

function(run wanted) # wanted: what ends up in the output; "error: text" if the command is to fail with that text
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  string(REGEX REPLACE "^error: " "" text "${wanted}")
  string(COMPARE EQUAL "${text}" "${wanted}" must_work)
  string(FIND "${output}" "${text}" found)
  if(must_work AND NOT result EQUAL 0 OR NOT must_work AND result EQUAL 0 OR found LESS 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "ended with ${result}, wanted '${wanted}': ${command}\n${output}")
  endif()
endfunction()

function(configure folder wanted)
  run("${wanted}" ${CMAKE_COMMAND} -G Ninja -S "${CMAKE_CURRENT_LIST_DIR}/compression" -B "${dir}/${folder}"
    "-DCMAKE_CXX_COMPILER=${COMPILER}" -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_PREFIX_PATH=${dir}/installed" ${ARGN})
endfunction()

run("" ${CMAKE_COMMAND} --install "${BUILD}" --prefix "${dir}/installed")

configure(with "compression: TRUE" -DWANT=REQUIRED)
run("" ${CMAKE_COMMAND} --build "${dir}/with")
run("gzip snappy lz4 zstd" "${dir}/with/packs")

# One library hidden: who does not ask for the component finds towpath all the same; who does is told what is missing.
configure(without "compression: FALSE" -DWANT=NONE "-Dtowpath_snappy_library=")
configure(optional "compression: FALSE" -DWANT=OPTIONAL "-Dtowpath_snappy_library=")
configure(refused "error: needs what was not found: snappy" -DWANT=REQUIRED "-Dtowpath_snappy_library=")

set(ENV{PKG_CONFIG_PATH} "${dir}/installed/share/pkgconfig")
run("-llz4" pkg-config --cflags --libs towpath-compression)
