# Headers, a CMake package and a pkg-config file. Nothing depends on the architecture, so all of it goes to include/ and share/.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(towpath_package_dir "${CMAKE_INSTALL_DATAROOTDIR}/cmake/towpath")
install(TARGETS towpath EXPORT towpath-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT towpath-targets NAMESPACE towpath:: DESTINATION "${towpath_package_dir}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/towpath-config.cmake.in" "${PROJECT_BINARY_DIR}/towpath-config.cmake"
  INSTALL_DESTINATION "${towpath_package_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/towpath-config-version.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/towpath-config.cmake" "${PROJECT_BINARY_DIR}/towpath-config-version.cmake"
  DESTINATION "${towpath_package_dir}")
# Where the libraries of an adapter are is the user's matter: they are looked for when the package is used.
install(FILES "${CMAKE_CURRENT_LIST_DIR}/compression.cmake" RENAME towpath-compression.cmake
  DESTINATION "${towpath_package_dir}")

install(FILES "${CMAKE_CURRENT_LIST_DIR}/adapters.cmake" DESTINATION "${towpath_package_dir}"
  RENAME towpath-adapters.cmake)

# The prefix is found from where the file lies, so an installed tree may be moved.
file(RELATIVE_PATH towpath_prefix_from_pc
  "${CMAKE_INSTALL_FULL_DATAROOTDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/towpath.pc.in" "${PROJECT_BINARY_DIR}/towpath.pc" @ONLY)
configure_file("${CMAKE_CURRENT_LIST_DIR}/towpath-compression.pc.in" "${PROJECT_BINARY_DIR}/towpath-compression.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/towpath.pc" "${PROJECT_BINARY_DIR}/towpath-compression.pc"
  DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/pkgconfig")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
