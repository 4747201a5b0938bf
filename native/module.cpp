// The Python module torchair._native: bindings only, one bind function per subsystem.
#include <nanobind/nanobind.h>

#include "cann/bindings.h"
#include "host/bindings.h"
#include "program/bindings.h"
#include "runtime/bindings.h"

NB_MODULE(_native, module) {
  // Programs held by module globals outlive the leak check at interpreter exit.
  nanobind::set_leak_warnings(false);
  torchair::program::bind(module);
  torchair::runtime::bind(module);
  torchair::host::bind(module);
  torchair::cann::bind(module);
}
