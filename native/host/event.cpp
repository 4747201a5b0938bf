#include "host/event.h"

#include "host/capture.h"
#include "host/device.h"

namespace torchair::host {

using runtime::Code;
using runtime::Error;

Event::Event(std::shared_ptr<DeviceState> device, runtime::EventKind kind)
    : device_(std::move(device)), kind_(kind), generation_(fork_generation()) {}

Record Event::latest() {
  const std::lock_guard lock(mutex_);
  if (generation_ != fork_generation()) {
    generation_ = fork_generation();
    latest_ = {};
  }
  if (latest_.capture && !latest_.capture->is_open())
    latest_ = {};
  return latest_;
}

std::uint64_t Event::issue() {
  const std::lock_guard lock(mutex_);
  generation_ = fork_generation();
  latest_ = {.ticket = ++issued_};
  return issued_;
}

void Event::record_in(std::shared_ptr<Capture> capture, std::size_t node) {
  const std::lock_guard lock(mutex_);
  generation_ = fork_generation();
  latest_ = {.ticket = 0, .capture = std::move(capture), .node = node};
}

std::uint64_t Event::ticket_to_await(const char* what) {
  const std::lock_guard lock(device_->mutex);
  const Record record = latest();
  if (record.capture) {
    record.capture->invalidate(what);
    throw Error(Code::kEventCaptured, what);
  }
  return record.ticket;
}

bool Event::query() {
  if (kind_ == runtime::EventKind::kExternal)
    return flag_.is_set();
  return signal_.has_reached(ticket_to_await("a captured event was queried"));
}

void Event::synchronize(std::int32_t timeout_ms) {
  const std::chrono::milliseconds timeout(timeout_ms);
  bool reached = false;
  if (kind_ == runtime::EventKind::kExternal)
    reached = flag_.await(timeout);
  else
    reached = signal_.await(ticket_to_await("a captured event was synchronized"), timeout);
  if (!reached)
    throw Error(Code::kWaitTimeout, "an event was not reached",
                "The limit was " + std::to_string(timeout_ms) + " ms");
}

} // namespace torchair::host
