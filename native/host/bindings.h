// Makes the host device available to Python, and ends its threads when the interpreter exits.
#pragma once

#include <nanobind/nanobind.h>

namespace torchair::host {

void bind(nanobind::module_& module);

} // namespace torchair::host
