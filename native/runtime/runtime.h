// What torchair needs of a device: streams, events, memory pools, capture and replay.
//
// native/host/ implements it with worker threads, native/cann/ with the ACL runtime. Both enforce
// the same rules with the same codes (status.h): every function that can break one throws Error.
// A stream belongs to no thread, but its calls come from one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/status.h"

namespace torchair::runtime {

// The numbers are aclmdlRICaptureMode's. The mode decides which calls are refused in other threads
// while a capture is on, and whether another thread may end it (only kRelaxed).
enum class CaptureMode : std::uint32_t { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

// The numbers are aclmdlRICaptureStatus's.
enum class CaptureStatus : std::uint32_t { kNone = 0, kActive = 1, kInvalidated = 2 };

// A plain event orders streams and carries a capture from one stream to another. An external event
// never joins streams to a capture: something outside the graph records it, once for every replay.
enum class EventKind { kPlain, kExternal };

// One operation, or any other unit of work, for a stream.
//
// The host device keeps the task and calls run() on the stream's thread, once, or at every replay
// when it was captured. A device with queues of its own calls run() at once, on the caller's
// thread: the task then puts its kernels on `native_stream`, and the device captures these.
class Task {
public:
  virtual ~Task() = default;
  // `native_stream` is the device's own handle (aclrtStream), null on the host device. Reports
  // failure by an exception.
  virtual void run(void* native_stream) = 0;
  // For error texts, e.g. "aten.mm.default".
  virtual std::string describe() const = 0;
};

// Device memory for captured graphs. Captures that are given the same pool share its memory: what
// the first one freed while it was captured, the next one may use. So their graphs must not run at
// the same time, and each overwrites what the others left in the shared part. Memory goes back to
// the device when the pool is destroyed, so whoever uses its memory keeps the pool alive.
class MemoryPool {
public:
  virtual ~MemoryPool() = default;
  // 64-byte aligned at least. Throws kMemoryAllocation.
  virtual void* allocate(std::size_t bytes) = 0;
  // Throws kParamInvalid for an address that allocate() did not return.
  virtual void free(void* address) = 0;
  virtual std::size_t bytes_in_use() const = 0;
  virtual std::size_t bytes_reserved() const = 0;
  virtual std::size_t bytes_peak() const = 0;
};

class Event {
public:
  virtual ~Event() = default;
  virtual EventKind kind() const = 0;
  // Whether the latest record has been reached; true for an event that was never recorded. Throws
  // kCaptureModeNotSupport where the capture mode forbids it, kEventCaptured for a record that is
  // part of a capture.
  virtual bool query() = 0;
  // Blocks until query() is true; the same errors, and kWaitTimeout after `timeout_ms`, -1: never.
  virtual void synchronize(std::int32_t timeout_ms = -1) = 0;
};

// The place of captured tasks whose parameters can be replaced between replays.
class TaskGroup {
public:
  virtual ~TaskGroup() = default;
};

class Stream;

// A captured graph. It keeps alive what its tasks hold, and the events and pool it was captured
// with.
class Graph {
public:
  virtual ~Graph() = default; // waits for a running replay
  virtual std::uint64_t id() const = 0;
  virtual std::size_t task_count() const = 0;
  // Queues one run of the whole graph on any stream that is not capturing. Throws kModelCaptured
  // while the graph is still being captured, kInvalidHandle after destroy().
  virtual void replay(Stream& stream) = 0;
  // Gives up the tasks. Throws kModelRunning while a replay is on its way; the graph stays usable.
  virtual void destroy() = 0;
  // Writes the tasks, streams and events in the Chrome trace format. Throws kFeatureNotSupport
  // where the device cannot.
  virtual void write_json(const std::string& path) = 0;
};

struct CaptureInfo {
  CaptureStatus status;
  std::uint64_t graph_id; // 0 when the stream is not capturing
};

class Stream {
public:
  virtual ~Stream() = default; // waits for what was queued
  virtual std::int32_t id() const = 0;
  virtual void* native() const = 0;

  // Queues a task, or adds it to the graph while capturing. A failure of a queued task is thrown by
  // the next synchronize(); the tasks behind it are skipped, its records are still made.
  virtual void launch(std::shared_ptr<Task> task) = 0;
  virtual void record(const std::shared_ptr<Event>& event) = 0;
  // A wait for a plain event that was never recorded returns at once, outside of a capture; inside
  // of one it throws kCaptureDependency. A wait for a plain event recorded in a capture joins this
  // stream to that capture.
  virtual void wait(const std::shared_ptr<Event>& event) = 0;
  // For external events only: arms the event again. Throws kParamInvalid for a plain one.
  virtual void reset(const std::shared_ptr<Event>& event) = 0;

  // Whether nothing is queued or running. Both throw kCaptureModeNotSupport where a capture forbids
  // them, and invalidate the capture of this stream.
  virtual bool query() = 0;
  // Blocks. Throws the first failure since the last synchronize(), after which the stream works
  // again; kWaitTimeout after `timeout_ms`, -1: never.
  virtual void synchronize(std::int32_t timeout_ms = -1) = 0;

  // From here on tasks are stored, not run. `pool` may be null. Throws kStreamCaptured when the
  // stream is capturing, kStreamCaptureImplicit for the default stream.
  virtual void begin_capture(CaptureMode mode, std::shared_ptr<MemoryPool> pool) = 0;
  virtual CaptureInfo capture_info() const = 0;
  // Ends the capture that began on this stream. Throws kStreamNotCaptured, kStreamCaptureUnmatched
  // when it began on another stream, kStreamCaptureWrongThread, kStreamUnjoined when a joined
  // stream does not lead back, kTaskGroupStatus when a group is open, kStreamCaptureInvalidated
  // when something forbidden was called meanwhile. Save for a wrong thread and a wrong stream, the
  // capture is over in any case and every stream of it usable.
  virtual std::shared_ptr<Graph> end_capture() = 0;

  // Tasks launched between the two on this capturing stream form a group. Throws
  // kStreamNotCaptured, kTaskGroupStatus (a group is open, or none is), kTaskGroupInterrupted
  // (another stream of the capture was given a task meanwhile).
  virtual void begin_task_group() = 0;
  virtual std::shared_ptr<TaskGroup> end_task_group() = 0;
  // Tasks launched between the two on this stream, which must not be capturing, replace those of
  // the group, one by one, for later replays. Throws kStreamCaptured, kTaskGroupStatus (an update
  // is open, or none is, or of this group on another stream), kModelUpdateFailed (another number of
  // tasks; the group keeps what it had), kModelRunning (host device: while a replay is on its way,
  // unless the graph waits for an external event in front of the group).
  virtual void begin_update(const std::shared_ptr<TaskGroup>& group) = 0;
  virtual void end_update() = 0;
};

class Device {
public:
  virtual ~Device() = default;
  virtual std::string name() const = 0; // "host", "cann"
  // Every device has one default stream. It cannot be captured.
  virtual std::shared_ptr<Stream> default_stream() = 0;
  // Throws kResourceAllocFail when there are no more. A higher number is a lower priority, as in
  // ACL; a device may ignore it.
  virtual std::shared_ptr<Stream> create_stream(std::uint32_t priority = 0) = 0;
  // A stream that another library made, by the device's own handle. Its maker keeps it and ends it,
  // after everything that was made with it. Throws kFeatureNotSupport where streams have no handle.
  virtual std::shared_ptr<Stream> borrow_stream(void* native);
  virtual std::shared_ptr<Event> create_event(EventKind kind = EventKind::kPlain) = 0;
  virtual std::shared_ptr<MemoryPool> create_pool() = 0;
  // Blocks until every stream is idle. Throws kCaptureModeNotSupport while a capture is on.
  virtual void synchronize() = 0;
  // Copies between any two addresses and returns when that is done (aclrtMemcpy). A capture forbids
  // it by its mode: kGlobal in every thread, kThreadLocal in its own thread, kRelaxed nowhere;
  // throws kCaptureModeNotSupport then, and invalidates the capture.
  virtual void copy(void* target, const void* source, std::size_t bytes) = 0;
  // Replaces the calling thread's mode, kGlobal at first, and returns the one it had. A thread in
  // kRelaxed may call what captures forbid by their mode, one in kThreadLocal what captures of
  // other threads forbid.
  virtual CaptureMode exchange_thread_mode(CaptureMode mode) = 0;
};

inline std::shared_ptr<Stream> Device::borrow_stream(void* /*native*/) {
  throw Error(Code::kFeatureNotSupport, "borrowing a stream on the " + name() + " device");
}

} // namespace torchair::runtime
