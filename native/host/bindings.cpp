#include "host/bindings.h"

#include <chrono>
#include <thread>

#include "host/device.h"
#include "host/worker.h"
#include "runtime/bindings.h"
#include "runtime/exiting.h"
#include "runtime/gil.h"

namespace nb = nanobind;

namespace torchair::host {
namespace {

// A job that still runs after this long does not hold up the exit.
constexpr std::chrono::milliseconds kExitLimit{10'000};

// Long enough for threads that were about to take the lock to have taken it.
constexpr std::chrono::milliseconds kGrace{20};

void end_workers() {
  runtime::exiting_thread.store(std::this_thread::get_id());
  const runtime::ReleasedGil no_gil; // a job may need it to finish
  Worker::end_all(kExitLimit);
  std::this_thread::sleep_for(kGrace);
}

} // namespace

void bind(nb::module_&) {
  runtime::add_device("host", [] { return std::make_shared<Device>(); });
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&end_workers));
}

} // namespace torchair::host
