// Events: plain ones order streams and carry captures, external ones are signalled from outside.
#include <chrono>
#include <condition_variable>

#include "capture.h"

namespace fake {
namespace {

constexpr std::uint32_t kExternal = 0x20, kAllFlags = 0x7B;
constexpr std::int32_t kNotReady = 0, kComplete = 1; // aclrtEventRecordedStatus
constexpr auto kLongestWait = std::chrono::seconds(5);

std::set<Event*> events;
std::condition_variable signalled;

Event* find_event(void* handle) {
  auto* event = static_cast<Event*>(handle);
  return events.contains(event) ? event : nullptr;
}

bool is_reached(const Event& event) {
  if (event.external)
    return event.signalled;
  return event.stream == nullptr || !state().device.streams.contains(event.stream) ||
         event.stream->done >= event.number;
}

int signal(Event* event, bool value) {
  const Lock lock = locked();
  if (!events.contains(event))
    return breach(kInvalidHandle, "a queued task uses an event that was destroyed");
  event->signalled = value;
  signalled.notify_all();
  return kOk;
}

// An external event may be recorded after the wait was queued, on a stream nobody waits for.
int await_external(Event* event) {
  Lock lock = locked();
  const auto end = std::chrono::steady_clock::now() + kLongestWait;
  while (events.contains(event) && !event->signalled) {
    if (event->stream != nullptr && event->stream->done < event->number)
      drain_to(lock, *event->stream, event->number);
    else if (signalled.wait_until(lock, end) == std::cv_status::timeout)
      return breach(kWaitTimeout, "a stream waits for an external event that nobody records");
  }
  return events.contains(event) ? static_cast<int>(kOk)
                                : breach(kInvalidHandle, "a queued task uses a destroyed event");
}

int await_plain(Stream* stream, std::uint64_t number) {
  Lock lock = locked();
  if (stream != nullptr && state().device.streams.contains(stream))
    drain_to(lock, *stream, number);
  return kOk;
}

int nothing() { return kOk; }

int record_captured(Event& event, Stream& stream) {
  if (event.external)
    return add_to_capture(stream,
                          {"aclrtRecordEvent", [&event] { return signal(&event, true); }, {}});
  if (const int wrong = add_to_capture(stream, {"aclrtRecordEvent", &nothing, {}}))
    return wrong;
  event.capture = stream.capture;
  event.clock = stream.capture->streams.at(&stream);
  return kOk;
}

void join(Stream& stream, const Event& event) {
  if (stream.capture == nullptr)
    stream.captured_at = 0;
  Clock& clock = event.capture->streams[&stream];
  for (const auto& [other, number] : event.clock)
    clock[other] = std::max(clock[other], number);
  stream.capture = event.capture;
  event.capture->model->streams.insert(&stream);
}

int wait_captured(Stream& stream, Event& event) {
  if (event.external)
    return add_to_capture(
        stream, {"aclrtStreamWaitEvent", [&event] { return await_external(&event); }, {}});
  if (stream.capture != nullptr && event.capture == nullptr)
    return invalidate(*stream.capture, kCaptureDependency,
                      "a captured wait for an event that was not recorded in the capture");
  if (stream.capture != nullptr && event.capture != stream.capture) {
    invalidate(*event.capture, kCaptureConflict, "two captures wait for each other");
    return invalidate(*stream.capture, kCaptureConflict, "two captures wait for each other");
  }
  join(stream, event);
  return add_to_capture(stream, {"aclrtStreamWaitEvent", &nothing, {}});
}

int create_event(const char* function, void** handle, std::uint32_t flags, bool may_be_external) {
  const Lock lock = locked();
  FAKE_CALL(function);
  if (handle == nullptr || flags == 0 || (flags & ~kAllFlags) != 0)
    return breach(kParamInvalid, std::string(function) + " with wrong arguments");
  if ((flags & kExternal) != 0 && !may_be_external)
    return breach(kParamInvalid, std::string(function) + " cannot make external events");
  auto* event = new Event;
  event->external = (flags & kExternal) != 0;
  events.insert(event);
  *handle = event;
  return kOk;
}

} // namespace

extern "C" int fake_aclrtCreateEventExWithFlag(void** handle, std::uint32_t flags) {
  return create_event("aclrtCreateEventExWithFlag", handle, flags, false);
}

extern "C" int fake_aclrtCreateEventWithFlag(void** handle, std::uint32_t flags) {
  return create_event("aclrtCreateEventWithFlag", handle, flags, true);
}

extern "C" int fake_aclrtDestroyEvent(void* handle) {
  const Lock lock = locked();
  FAKE_CALL("aclrtDestroyEvent", true);
  Event* event = find_event(handle);
  if (event == nullptr)
    return breach(kInvalidHandle, "aclrtDestroyEvent of something that is not an event");
  events.erase(event);
  delete event;
  return kOk;
}

extern "C" int fake_aclrtRecordEvent(void* handle, void* stream_handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtRecordEvent");
  Event* event = find_event(handle);
  Stream* stream = find_stream(stream_handle);
  if (event == nullptr || stream == nullptr)
    return breach(kInvalidHandle, "aclrtRecordEvent of or on something that does not exist");
  if (stream->capture != nullptr)
    return record_captured(*event, *stream);
  event->capture = nullptr;
  event->stream = stream;
  event->number = stream->queued + 1;
  if (event->external)
    return submit(lock, *stream, {"aclrtRecordEvent", [event] { return signal(event, true); }, {}});
  return submit(lock, *stream, {"aclrtRecordEvent", &nothing, {}});
}

extern "C" int fake_aclrtStreamWaitEvent(void* stream_handle, void* handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtStreamWaitEvent");
  Event* event = find_event(handle);
  Stream* stream = find_stream(stream_handle);
  if (event == nullptr || stream == nullptr)
    return breach(kInvalidHandle, "aclrtStreamWaitEvent for or on something that does not exist");
  if (stream->capture != nullptr || (event->capture != nullptr && !event->external))
    return wait_captured(*stream, *event);
  if (event->external)
    return submit(lock, *stream,
                  {"aclrtStreamWaitEvent", [event] { return await_external(event); }, {}});
  const auto wait = [other = event->stream, number = event->number] {
    return await_plain(other, number);
  };
  return submit(lock, *stream, {"aclrtStreamWaitEvent", wait, {}});
}

extern "C" int fake_aclrtResetEvent(void* handle, void* stream_handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtResetEvent");
  Event* event = find_event(handle);
  Stream* stream = find_stream(stream_handle);
  if (event == nullptr || stream == nullptr)
    return breach(kInvalidHandle, "aclrtResetEvent of or on something that does not exist");
  if (!event->external)
    return breach(kParamInvalid, "aclrtResetEvent of an event of aclrtCreateEventExWithFlag");
  return submit(lock, *stream, {"aclrtResetEvent", [event] { return signal(event, false); }, {}});
}

extern "C" int fake_aclrtQueryEventStatus(void* handle, std::int32_t* status) {
  Lock lock = locked();
  FAKE_CALL("aclrtQueryEventStatus");
  const Event* event = find_event(handle);
  if (event == nullptr || status == nullptr)
    return breach(kInvalidHandle, "aclrtQueryEventStatus of something that is not an event");
  if (event->capture != nullptr)
    return invalidate(*event->capture, kEventCaptured, "a query of a captured event");
  *status = is_reached(*event) ? kComplete : kNotReady;
  if (*status == kNotReady && event->stream != nullptr) // for the next query: time passes
    drain_to(lock, *event->stream, event->number, std::chrono::steady_clock::now());
  return kOk;
}

extern "C" int fake_aclrtSynchronizeEvent(void* handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtSynchronizeEvent");
  Event* event = find_event(handle);
  if (event == nullptr)
    return breach(kInvalidHandle, "aclrtSynchronizeEvent of something that is not an event");
  if (event->capture != nullptr)
    return invalidate(*event->capture, kEventCaptured, "a wait for a captured event");
  if (event->stream != nullptr && state().device.streams.contains(event->stream))
    drain_to(lock, *event->stream, event->number);
  return kOk;
}

// For the end of a capture, after which its records have no meaning.
void forget_capture(const Capture* capture) {
  for (Event* event : events)
    if (event->capture == capture)
      event->capture = nullptr;
}

std::size_t count_events() { return events.size(); }

void reset_events() {
  for (Event* event : events)
    delete event;
  events.clear();
}

} // namespace fake
