#include "state.h"

#include <cstdlib>
#include <cstring>
#include <sstream>

namespace fake {
namespace {

thread_local std::string error_text;
thread_local std::string ge_text;

constexpr int kLeavesDevice = 0;
thread_local int device_of_thread = -1;

// FAKE_CANN_INJECT="aclrtMalloc:2=207001;Session.AddGraph:0=-1"
void read_environment(State& state) {
  const char* text = std::getenv("FAKE_CANN_INJECT");
  std::istringstream entries(text == nullptr ? "" : text);
  for (std::string entry; std::getline(entries, entry, ';');) {
    const std::size_t colon = entry.rfind(':'), equals = entry.rfind('=');
    if (colon == std::string::npos || equals == std::string::npos)
      continue;
    state.calls.injections.push_back({entry.substr(0, colon), std::atoi(entry.c_str() + colon + 1),
                                      std::atoi(entry.c_str() + equals + 1)});
  }
  const char* memory = std::getenv("FAKE_CANN_MEMORY");
  state.device.memory_limit = memory == nullptr ? 0 : std::strtoull(memory, nullptr, 10);
}

} // namespace

State& state() {
  static State* const made = [] {
    auto* state = new State; // alive until the process ends: CANN's users may exit in any order
    read_environment(*state);
    return state;
  }();
  return *made;
}

int fail(int code, const std::string& text) {
  error_text = "EE9999: fake CANN: " + text;
  return code;
}

int breach(int code, const std::string& text) {
  state().calls.breaches.push_back(text);
  return fail(code, text);
}

std::string take_error_text() { return std::exchange(error_text, {}); }

std::string& ge_error_text() { return ge_text; }

int enter(const char* function, bool cleans_up) {
  State& s = state();
  const int count = ++s.calls.counts[function];
  s.calls.order.push_back(function);
  for (const Calls::Injection& injection : s.calls.injections)
    if (injection.function == function && (injection.nth == 0 || injection.nth == count))
      return fail(injection.code, std::string("injected failure of ") + function);
  if (s.device.lost && !cleans_up)
    return fail(kLostHeartbeat, "the device is lost");
  return kOk;
}

int enter_device(const char* function, bool cleans_up) {
  if (const int injected = enter(function, cleans_up))
    return injected;
  if (!state().device.initialized)
    return breach(kUninitialized, std::string(function) + " before aclInit or after aclFinalize");
  if (device_of_thread == kLeavesDevice && state().device.references > 0)
    return kOk;
  return breach(kContextNull, std::string(function) + " on a thread without aclrtSetDevice");
}

bool is_device_memory(const void* address, std::uint64_t bytes) {
  const auto& memory = state().device.memory;
  auto found = memory.upper_bound(address);
  if (found == memory.begin())
    return false;
  --found;
  const auto* start = static_cast<const char*>(found->first);
  const auto* wanted = static_cast<const char*>(address);
  return wanted >= start && wanted + bytes <= start + found->second;
}

std::string user_of(const void* address) {
  for (const Stream* stream : state().device.streams)
    for (const Task& task : stream->queue)
      for (const auto& [used, bytes] : task.uses)
        if (used >= address &&
            used < static_cast<const char*>(address) + state().device.memory.at(address))
          return task.name;
  return {};
}

// ---------------------------------------------------------------- aclInit, devices

extern "C" int fake_aclInit(const char* /*config*/) {
  const Lock lock = locked();
  if (const int injected = enter("aclInit"))
    return injected;
  if (state().device.initialized)
    return fail(kRepeatInitialize, "aclInit was called before");
  state().device.initialized = true;
  return kOk;
}

extern "C" int fake_aclFinalize() {
  const Lock lock = locked();
  if (const int injected = enter("aclFinalize", true))
    return injected;
  if (!state().device.initialized)
    return breach(kUninitialized, "aclFinalize without aclInit");
  if (state().device.references > 0)
    breach(kOk, "aclFinalize before aclrtResetDevice");
  if (state().device.dumps)
    breach(kOk, "aclFinalize before aclmdlFinalizeDump");
  for (const auto& leak : {live_ge(), live_capture(), live_printing(), live_acl()})
    for (const std::string& text : leak)
      breach(kOk, "alive at aclFinalize: " + text);
  state().device.initialized = false;
  return kOk;
}

extern "C" const char* fake_aclGetRecentErrMsg() {
  static thread_local std::string text;
  text = take_error_text();
  return text.empty() ? nullptr : text.c_str();
}

extern "C" int fake_aclrtGetDeviceCount(std::uint32_t* count) {
  const Lock lock = locked();
  if (const int injected = enter("aclrtGetDeviceCount"))
    return injected;
  *count = 1;
  return kOk;
}

extern "C" int fake_aclrtSetDevice(std::int32_t device) {
  const Lock lock = locked();
  if (const int injected = enter("aclrtSetDevice"))
    return injected;
  if (!state().device.initialized)
    return breach(kUninitialized, "aclrtSetDevice before aclInit");
  if (device != 0)
    return fail(kInvalidDevice, "there is device 0 only");
  device_of_thread = kLeavesDevice;
  ++state().device.references;
  return kOk;
}

extern "C" int fake_aclrtResetDevice(std::int32_t device) {
  const Lock lock = locked();
  if (const int injected = enter("aclrtResetDevice", true))
    return injected;
  if (device != 0 || state().device.references == 0)
    return breach(kInvalidDevice, "aclrtResetDevice of a device that is not set");
  state().device.references = 0;
  return kOk;
}

extern "C" int fake_aclrtGetDevice(std::int32_t* device) {
  const Lock lock = locked();
  FAKE_CALL("aclrtGetDevice");
  *device = 0;
  return kOk;
}

extern "C" int fake_aclmdlInitDump() {
  const Lock lock = locked();
  FAKE_CALL("aclmdlInitDump");
  if (std::exchange(state().device.dumps, true))
    return breach(kRepeatInitialize, "aclmdlInitDump a second time");
  return kOk;
}

extern "C" int fake_aclmdlSetDump(const char* path) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlSetDump");
  if (!state().device.dumps || path == nullptr)
    return breach(kParamInvalid, "aclmdlSetDump before aclmdlInitDump");
  state().device.dump_config = path;
  return kOk;
}

extern "C" int fake_aclmdlFinalizeDump() {
  const Lock lock = locked();
  FAKE_CALL("aclmdlFinalizeDump", true);
  if (!std::exchange(state().device.dumps, false))
    return breach(kParamInvalid, "aclmdlFinalizeDump without aclmdlInitDump");
  return kOk;
}

extern "C" const char* fake_aclrtGetSocName() { return "Ascend910B-fake"; }

// ---------------------------------------------------------------- control

namespace {

const char* lines(const std::vector<std::string>& entries) {
  static thread_local std::string text;
  text.clear();
  for (const std::string& entry : entries)
    text += entry + "\n";
  return text.c_str();
}

} // namespace

extern "C" void fake_cann_set_model(FakeInspect inspect, FakeExecute execute) {
  const Lock lock = locked();
  state().model = {inspect, execute};
}

extern "C" void fake_cann_inject(const char* function, std::int32_t nth, std::int32_t code) {
  const Lock lock = locked();
  state().calls.injections.push_back({function, nth, code});
}

extern "C" void fake_cann_lose_device() {
  const Lock lock = locked();
  state().device.lost = true;
}

extern "C" void fake_cann_set_delay(std::int32_t milliseconds) {
  const Lock lock = locked();
  state().device.delay = std::chrono::milliseconds(milliseconds);
}

extern "C" void fake_cann_set_memory(std::uint64_t bytes) {
  const Lock lock = locked();
  state().device.memory_limit = bytes;
}

extern "C" const char* fake_cann_breaches() {
  const Lock lock = locked();
  return lines(state().calls.breaches);
}

extern "C" const char* fake_cann_calls() {
  const Lock lock = locked();
  return lines(state().calls.order);
}

extern "C" const char* fake_cann_leaks() {
  const Lock lock = locked();
  std::vector<std::string> all;
  for (const auto& part : {live_ge(), live_capture(), live_printing(), live_acl()})
    all.insert(all.end(), part.begin(), part.end());
  if (is_ge_started())
    all.push_back("GE, which was not finalized");
  if (state().device.initialized)
    all.push_back("ACL, which was not finalized");
  return lines(all);
}

extern "C" std::int32_t fake_cann_count(const char* function) {
  const Lock lock = locked();
  const auto found = state().calls.counts.find(function);
  return found == state().calls.counts.end() ? 0 : found->second;
}

extern "C" void fake_cann_reset() {
  const Lock lock = locked();
  reset_ge();
  reset_capture();
  Device& device = state().device;
  for (const auto& [address, bytes] : device.memory)
    std::free(const_cast<void*>(address));
  for (Stream* stream : device.streams)
    delete stream;
  device = Device{};
  state().calls = Calls{};
  read_environment(state());
}

// The end of a name that a release exports and the fake has no code for.
extern "C" int fake_cann_unimplemented(const char* symbol) {
  const Lock lock = locked();
  return breach(kParamInvalid, std::string("the fake does not implement ") + symbol);
}

} // namespace fake
