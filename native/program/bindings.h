// Python bindings of the program executor.
#pragma once

#include <nanobind/nanobind.h>

namespace torchair::program {

void bind(nanobind::module_& module);

} // namespace torchair::program
