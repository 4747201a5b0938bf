// The state of the fake CANN: what exists, what was called, and which rules were broken.
//
// Every function of the fake starts with FAKE_CALL, which logs it and serves injected failures. A
// broken rule is a breach: the call fails as CANN's would, and the test fails at its end.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control.h"

namespace fake {

// Result codes, from the ACL headers.
enum Code : int {
  kOk = 0,
  kUninitialized = 100001,
  kRepeatInitialize = 100002,
  kParamInvalid = 107000,
  kInvalidDevice = 107001,
  kContextNull = 107002,
  kInvalidHandle = 107017,
  kWaitTimeout = 107019,
  kCaptureDependency = 107024,
  kStreamUnjoined = 107025,
  kModelCaptured = 107026,
  kStreamCaptured = 107027,
  kEventCaptured = 107028,
  kStreamNotCaptured = 107029,
  kCaptureModeNotSupport = 107030,
  kCaptureImplicit = 107031,
  kCaptureConflict = 107032,
  kTaskGroupStatus = 107033,
  kTaskGroupInterrupted = 107034,
  kCaptureUnmatched = 107036,
  kModelRunning = 107037,
  kCaptureWrongThread = 107038,
  kModelUpdateFailed = 107040,
  kMemoryAllocation = 207001,
  kLostHeartbeat = 507010,
  kModelExecute = 507011,
  kCaptureInvalidated = 507903,
};

inline constexpr std::uint32_t kGeFailed = 0xFFFFFFFF;

using Lock = std::unique_lock<std::mutex>;

struct Task {
  std::string name;
  std::function<int()> run;                                // without the lock; returns a code
  std::vector<std::pair<const void*, std::uint64_t>> uses; // device memory it reads or writes
  const void* owner = nullptr;                             // the graph or model it belongs to
  std::chrono::steady_clock::time_point ready{};           // set when it is queued
};

struct Capture;

// Work is not done when it is queued but when somebody waits for it, so that a missing wait shows.
struct Stream {
  std::int32_t id = 0;
  std::deque<Task> queue;
  std::uint64_t queued = 0; // tasks ever queued
  std::uint64_t done = 0;
  bool draining = false;
  int failure = kOk;
  Capture* capture = nullptr;
  const void* updating = nullptr; // the task group
  std::vector<Task> update_tasks;
  std::uint64_t captured_at = 0; // number of its latest captured task
};

struct Calls {
  std::map<std::string, int> counts;
  std::vector<std::string> order;
  std::vector<std::string> breaches;
  struct Injection {
    std::string function;
    int nth;
    int code;
  };
  std::vector<Injection> injections;
};

struct Device {
  bool initialized = false;
  bool lost = false;
  int references = 0; // aclrtSetDevice without aclrtResetDevice
  bool dumps = false;
  std::string dump_config;
  std::chrono::milliseconds delay{0};
  std::uint64_t memory_limit = 0;
  std::uint64_t memory_used = 0;
  std::map<const void*, std::uint64_t> memory;
  std::set<Stream*> streams;
  std::int32_t next_stream = 1;
};

struct Model {
  FakeInspect inspect = nullptr;
  FakeExecute execute = nullptr;
};

struct State {
  std::mutex mutex;
  Calls calls;
  Device device;
  Model model;
};

State& state();
inline Lock locked() { return Lock(state().mutex); }

// Sets the calling thread's error text and returns the code.
int fail(int code, const std::string& text);
// A rule was broken by the caller.
int breach(int code, const std::string& text);
// The error text that aclGetRecentErrMsg gives next.
std::string take_error_text();
// GE's error text of this thread.
std::string& ge_error_text();

// Logs a call. The code of an injected failure, or 0.
int enter(const char* function, bool cleans_up = false);
// enter() for functions that need ACL and a device on this thread. The lock is held.
int enter_device(const char* function, bool cleans_up = false);

#define FAKE_CALL(...)                                                                             \
  if (const int injected = ::fake::enter_device(__VA_ARGS__))                                      \
  return injected

// The live allocation that holds these bytes.
bool is_device_memory(const void* address, std::uint64_t bytes);
// Whether a queued task uses the allocation that starts here.
std::string user_of(const void* address);

Stream* find_stream(void* handle); // null when it is none
// Runs what is queued, in order, without the lock. Returns the stream's first failure, once.
int drain(Lock& lock, Stream& stream);
using TimePoint = std::chrono::steady_clock::time_point;
// Runs the tasks up to this number; false when `end` came before.
bool drain_to(Lock& lock, Stream& stream, std::uint64_t number, TimePoint end = TimePoint::max());
// Queues or captures.
int submit(Lock& lock, Stream& stream, Task task);
// For waits and queries: what a capture forbids in every mode. 0 when allowed.
int check_wait_allowed(const char* function, Stream* stream);
// For blocking copies, which a capture forbids by its mode.
int check_unsafe_allowed(const char* function);

// "a device allocation of 512 bytes" for everything alive, by part of the fake.
std::vector<std::string> live_acl();
std::vector<std::string> live_capture();
std::vector<std::string> live_ge();
std::vector<std::string> live_printing();
bool is_ge_started();
void reset_capture();
void reset_ge();

} // namespace fake
