#include "host/bindings.h"

#include "host/device.h"
#include "host/worker.h"
#include "runtime/bindings.h"

namespace nb = nanobind;

namespace torchair::host {
namespace {

// A job that still runs after this long does not hold up the exit.
constexpr std::chrono::milliseconds kExitLimit{10'000};

void end_workers() {
  const nb::gil_scoped_release no_gil; // a job may need it to finish
  Worker::end_all(kExitLimit);
}

} // namespace

void bind(nb::module_&) {
  runtime::add_device("host", [] { return std::make_shared<Device>(); });
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&end_workers));
}

} // namespace torchair::host
