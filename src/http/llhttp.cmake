# Finds llhttp and offers it as the target `llhttp`.
#   1. libllhttp, where the distribution has it (Debian 13: libllhttp-dev), by CMake config or pkg-config;
#   2. else the C sources of Debian 12's node-llhttp (/usr/share/llhttp, /usr/share/include/llhttp).
# llhttp 8.1 is loose unless every includer is compiled with LLHTTP_STRICT_MODE=1: CMakeLists.txt defines it globally.
find_package(llhttp CONFIG QUIET)
if(TARGET llhttp::llhttp_shared)
  add_library(llhttp INTERFACE)
  target_link_libraries(llhttp INTERFACE llhttp::llhttp_shared)
else()
  pkg_check_modules(libllhttp QUIET IMPORTED_TARGET libllhttp)
  if(libllhttp_FOUND)
    add_library(llhttp INTERFACE)
    target_link_libraries(llhttp INTERFACE PkgConfig::libllhttp)
  else()
    find_path(LLHTTP_SOURCE llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
    find_path(LLHTTP_INCLUDE llhttp.h PATHS /usr/share/include/llhttp NO_DEFAULT_PATH)
    if(NOT LLHTTP_SOURCE OR NOT LLHTTP_INCLUDE)
      message(FATAL_ERROR "llhttp not found. Debian 13 and newer: apt-get install libllhttp-dev. "
                          "Debian 12: apt-get install node-llhttp.")
    endif()
    add_library(llhttp STATIC ${LLHTTP_SOURCE}/llhttp.c ${LLHTTP_SOURCE}/api.c ${LLHTTP_SOURCE}/http.c)
    target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE})
    target_compile_options(llhttp PRIVATE -w)
    if(WHOLE_ROOMS)
      target_compile_options(llhttp PRIVATE -flto -ffat-lto-objects)
    endif()
  endif()
endif()
