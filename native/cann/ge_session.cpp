#include "cann/ge_session.h"

#include <cstdio>

namespace torchair::cann {
namespace {

// Status 0 is success: the call gave a null pointer.
std::string describe(const std::string& function, GeStatus status, const std::string& text) {
  char number[16];
  std::snprintf(number, sizeof(number), "0x%08X", status);
  const std::string what =
      status == 0 ? " returned nothing" : " failed with status " + std::string(number);
  return function + what + (text.empty() ? "" : ": " + text);
}

} // namespace

GeError::GeError(const std::string& function, GeStatus status, const std::string& text)
    : std::runtime_error(describe(function, status, text)), status_(status) {}

void GeSession::load(std::uint32_t /*id*/, void* /*stream*/, const OptionList& /*options*/) {
  throw std::logic_error("this route to GE does not load graphs");
}

void GeSession::execute(std::uint32_t /*id*/, void* /*stream*/,
                        std::span<const TensorView> /*inputs*/,
                        std::span<const TensorView> /*outputs*/) {
  throw std::logic_error("this route to GE does not load graphs");
}

std::string GeSession::tasks_json(std::uint32_t /*id*/) {
  throw runtime::Error(runtime::Code::kFeatureNotSupport, "this GE cannot list a graph's tasks");
}

std::unique_ptr<GeSession> open_session(std::shared_ptr<const Library> library, Route route,
                                        const OptionList& process, const OptionList& session,
                                        bool owned) {
  if (route == Route::kAuto) {
    const bool complete =
        library->missing(Need::kWrapper).empty() && library->missing(Need::kGraph).empty();
    route = complete ? Route::kWrapper : Route::kSession;
  }
  if (route == Route::kWrapper) {
    library->require({Need::kGraph, Need::kWrapper},
                     "to run graphs through GE's plain-C interface");
    return open_wrapper_session(std::move(library), process, session, owned);
  }
  library->require({Need::kGraph, Need::kSession}, "to run graphs through ge::Session");
  return open_cxx_session(std::move(library), process, session, owned);
}

} // namespace torchair::cann
