# What is installed beside the program, and how CPack makes a Debian package of it:
#
#   cmake -S . -B build -G Ninja -DCMAKE_INSTALL_PREFIX=/usr && ninja -C build && (cd build && cpack)
set(package ${CMAKE_CURRENT_LIST_DIR})

# Manual pages are made by the program, of its own tables.
find_program(GZIP gzip)
if(GZIP)
  foreach(page slowproxy.8 slowproxy.yaml.5)
    string(REGEX MATCH "[0-9]$" section ${page})
    add_custom_command(OUTPUT ${page}.gz DEPENDS slowproxy VERBATIM
      COMMAND sh -c "\"$1\" manual $2 | \"$3\" -9n > \"$4\"" sh $<TARGET_FILE:slowproxy> ${section} ${GZIP} ${page}.gz)
    list(APPEND manuals ${CMAKE_BINARY_DIR}/${page}.gz)
    install(FILES ${CMAKE_BINARY_DIR}/${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT manuals)
  endforeach()
  add_custom_target(manuals ALL DEPENDS ${manuals})
endif()

# So are the completions of the shells.
foreach(row bash:bash-completion/completions:slowproxy zsh:zsh/vendor-completions:_slowproxy
        fish:fish/vendor_completions.d:slowproxy.fish)
  string(REPLACE ":" ";" row ${row})
  list(GET row 0 shell)
  list(GET row 1 folder)
  list(GET row 2 name)
  set(file ${CMAKE_BINARY_DIR}/completions/${shell})
  add_custom_command(OUTPUT ${file} DEPENDS slowproxy VERBATIM
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completions
    COMMAND slowproxy completions ${shell} > ${file})
  list(APPEND completions ${file})
  install(FILES ${file} DESTINATION share/${folder} RENAME ${name} COMPONENT manuals)
endforeach()
add_custom_target(completions ALL DEPENDS ${completions})

# The rest belongs to a system: only `cmake --install build --component system`, or the package, puts it there.
add_custom_command(OUTPUT changelog.Debian.gz DEPENDS ${package}/changelog.Debian VERBATIM
  COMMAND sh -c "gzip -9nc \"$1\" > changelog.Debian.gz" sh ${package}/changelog.Debian)
add_custom_target(changelog ALL DEPENDS changelog.Debian.gz)
set(system COMPONENT system EXCLUDE_FROM_ALL)
install(FILES ${package}/proxy.yaml DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/slowproxy ${system})
install(FILES ${package}/logrotate DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/logrotate.d RENAME slowproxy ${system})
install(FILES ${package}/sysusers.conf DESTINATION lib/sysusers.d RENAME slowproxy.conf ${system})
install(FILES config/systemd/slowproxy.service config/systemd/slowproxy.socket DESTINATION /lib/systemd/system ${system})
install(FILES ${package}/copyright ${CMAKE_BINARY_DIR}/changelog.Debian.gz DESTINATION share/doc/slowproxy ${system})

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL program manuals system)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PACKAGE_NAME slowproxy)
set(CPACK_PACKAGE_CONTACT "The founders of slowproxy <slowproxy@example.org>")
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS passwd)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libcurl4 | libcurl4t64, logrotate")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${package}/debian/postinst ${package}/debian/prerm ${package}/debian/postrm
    ${package}/debian/conffiles)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "reverse proxy that explains slow requests of Python web applications")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"slowproxy stands in front of a Python web application, times each request and
explains the slow ones: which route, which worker process, which line of code,
for how long. It reads the stacks of the worker that serves a slow request
from outside, while it runs. Nothing is installed into the application.")
include(CPack)
