// Streams: queues that are worked off when somebody waits.
#include <algorithm>
#include <condition_variable>

#include "capture.h"
#include "state.h"

namespace fake {
namespace {

std::condition_variable drained;

// Runs the first task of a stream. The lock is open meanwhile: a task may call Python.
void run_first(Lock& lock, Stream& stream) {
  stream.draining = true;
  const Task task = stream.queue.front(); // stays in the queue: its memory is in use
  lock.unlock();
  const int code = task.run();
  lock.lock();
  stream.queue.pop_front();
  ++stream.done;
  if (code != kOk && stream.failure == kOk)
    stream.failure = code;
  stream.draining = false;
  drained.notify_all();
}

} // namespace

Stream* find_stream(void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  return state().device.streams.contains(stream) ? stream : nullptr;
}

bool drain_to(Lock& lock, Stream& stream, std::uint64_t number, TimePoint end) {
  while (stream.done < number) {
    const TimePoint now = std::chrono::steady_clock::now();
    const TimePoint ready = stream.queue.front().ready;
    if (!stream.draining && ready <= now)
      run_first(lock, stream);
    else if (now >= end)
      return false;
    else if (stream.draining)
      drained.wait_for(lock, std::chrono::milliseconds(10));
    else
      drained.wait_until(lock, std::min(ready, end));
  }
  return true;
}

int drain(Lock& lock, Stream& stream) {
  drain_to(lock, stream, stream.queued);
  return std::exchange(stream.failure, kOk);
}

int submit(Lock& /*lock*/, Stream& stream, Task task) {
  if (stream.capture != nullptr)
    return add_to_capture(stream, std::move(task));
  if (stream.updating != nullptr) {
    stream.update_tasks.push_back(std::move(task));
    return kOk;
  }
  task.ready = std::chrono::steady_clock::now() + state().device.delay;
  stream.queue.push_back(std::move(task));
  ++stream.queued;
  return kOk;
}

extern "C" int fake_aclrtCreateStreamWithConfig(void** handle, std::uint32_t priority,
                                                std::uint32_t flags) {
  const Lock lock = locked();
  FAKE_CALL("aclrtCreateStreamWithConfig");
  if (handle == nullptr || priority > 7 || (flags & ~0x3Fu) != 0)
    return breach(kParamInvalid, "aclrtCreateStreamWithConfig with wrong arguments");
  auto* stream = new Stream;
  stream->id = state().device.next_stream++;
  state().device.streams.insert(stream);
  *handle = stream;
  return kOk;
}

extern "C" int fake_aclrtCreateStream(void** handle) {
  return fake_aclrtCreateStreamWithConfig(handle, 0, 0);
}

extern "C" int fake_aclrtDestroyStream(void* handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtDestroyStream", true);
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "aclrtDestroyStream of something that is not a stream");
  if (stream->capture != nullptr)
    return breach(kStreamCaptured, "aclrtDestroyStream of a stream that is capturing");
  if (is_captured_stream(stream))
    breach(kOk, "aclrtDestroyStream of a stream that a captured graph uses");
  drain(lock, *stream);
  state().device.streams.erase(stream);
  delete stream;
  return kOk;
}

extern "C" int fake_aclrtSynchronizeStreamWithTimeout(void* handle, std::int32_t timeout) {
  Lock lock = locked();
  FAKE_CALL("aclrtSynchronizeStreamWithTimeout");
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "waiting for something that is not a stream");
  if (timeout < -1)
    return breach(kParamInvalid, "aclrtSynchronizeStreamWithTimeout with a timeout below -1");
  if (const int wrong = check_wait_allowed("aclrtSynchronizeStreamWithTimeout", stream))
    return wrong;
  const auto end = timeout < 0
                       ? TimePoint::max()
                       : std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout);
  if (!drain_to(lock, *stream, stream->queued, end))
    return fail(kWaitTimeout, "the stream is not done in time");
  const int code = std::exchange(stream->failure, kOk);
  return code == kOk ? kOk : fail(code, "a task of the stream failed");
}

extern "C" int fake_aclrtSynchronizeStream(void* handle) {
  return fake_aclrtSynchronizeStreamWithTimeout(handle, -1);
}

extern "C" int fake_aclrtSynchronizeDevice() {
  Lock lock = locked();
  FAKE_CALL("aclrtSynchronizeDevice");
  if (const int wrong = check_wait_allowed("aclrtSynchronizeDevice", nullptr))
    return wrong;
  int first = kOk;
  const std::vector<Stream*> streams(state().device.streams.begin(), state().device.streams.end());
  for (Stream* stream : streams) {
    const int code = state().device.streams.contains(stream) ? drain(lock, *stream) : kOk;
    first = first == kOk ? code : first;
  }
  return first == kOk ? kOk : fail(first, "a task of a stream failed");
}

// Time passes between two queries, so what is ready then is done for the next one.
extern "C" int fake_aclrtStreamQuery(void* handle, std::int32_t* status) {
  Lock lock = locked();
  FAKE_CALL("aclrtStreamQuery");
  Stream* stream = find_stream(handle);
  if (stream == nullptr || status == nullptr)
    return breach(kInvalidHandle, "aclrtStreamQuery of something that is not a stream");
  if (const int wrong = check_wait_allowed("aclrtStreamQuery", stream))
    return wrong;
  *status = stream->queue.empty() ? 0 : 1; // COMPLETE, NOT_READY
  drain_to(lock, *stream, stream->queued, std::chrono::steady_clock::now());
  return kOk;
}

extern "C" int fake_aclrtStreamGetId(void* handle, std::int32_t* id) {
  const Lock lock = locked();
  FAKE_CALL("aclrtStreamGetId");
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "aclrtStreamGetId of something that is not a stream");
  *id = stream->id;
  return kOk;
}

// A host function stands in a stream, or in a captured graph, as any kernel does.
extern "C" int fake_aclrtLaunchHostFunc(void* handle, void (*function)(void*), void* argument) {
  Lock lock = locked();
  FAKE_CALL("aclrtLaunchHostFunc");
  Stream* stream = find_stream(handle);
  if (stream == nullptr || function == nullptr)
    return breach(kParamInvalid, "aclrtLaunchHostFunc with wrong arguments");
  const auto run = [function, argument] {
    function(argument);
    return static_cast<int>(kOk);
  };
  return submit(lock, *stream, {"aclrtLaunchHostFunc", run, {}});
}

std::vector<std::string> live_acl() {
  std::vector<std::string> found;
  for (const auto& [address, bytes] : state().device.memory)
    found.push_back("a device allocation of " + std::to_string(bytes) + " bytes");
  for (const Stream* stream : state().device.streams)
    found.push_back("stream " + std::to_string(stream->id) + " with " +
                    std::to_string(stream->queue.size()) + " queued tasks");
  return found;
}

} // namespace fake
