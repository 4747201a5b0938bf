// Obtains torch's AOTInductor proxy executor.
//
// torch builds a proxy executor for every AOTInductor model it loads and hands it to the model's
// run function. This module therefore presents itself as a model without inputs, outputs and
// constants, whose run function keeps the handle.
#pragma once

#include "program/cshim.h"

namespace torchair::program {

// The handle that the latest run of the model on this thread received; null when there was none.
// The handle is valid while the Python runner object that loaded the model lives.
ProxyHandle take_proxy_handle();

} // namespace torchair::program
