// Python bindings of the CANN driver.
#pragma once

#include <nanobind/nanobind.h>

namespace torchair::cann {

// Adds CannEngine, CannGraph, CannOutput, CannLoadError and cann_symbols to the module.
void bind(nanobind::module_& module);

} // namespace torchair::cann
