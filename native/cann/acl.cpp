#include "cann/acl.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <utility>

namespace torchair::cann {
namespace {

using runtime::Code;

constexpr std::int32_t kMallocHugeFirst = 0;
constexpr std::int32_t kPollMilliseconds = 500;
constexpr std::uint32_t kStreamFastLaunch = 1, kStreamFastSync = 2;

// Codes that only a real device gives; runtime/status.h has those of the rules.
struct DeviceCode {
  AclStatus status;
  const char* name;
};
constexpr DeviceCode kDeviceCodes[] = {
    {100000, "ACL_ERROR_INVALID_PARAM"},
    {100001, "ACL_ERROR_UNINITIALIZE"},
    {kRepeatInitialize, "ACL_ERROR_REPEAT_INITIALIZE"},
    {107022, "ACL_ERROR_RT_DEVICE_TASK_ABORT"},
    {207004, "ACL_ERROR_RT_NO_DEVICE"},
    {207007, "ACL_ERROR_RT_NO_EVENT_RESOURCE"},
    {207008, "ACL_ERROR_RT_NO_STREAM_RESOURCE"},
    {207009, "ACL_ERROR_RT_NO_NOTIFY_RESOURCE"},
    {207010, "ACL_ERROR_RT_NO_MODEL_RESOURCE"},
    {207012, "ACL_ERROR_RT_OVER_LIMIT"},
    {207018, "ACL_ERROR_RT_DEVICE_OOM"},
    {507009, "ACL_ERROR_RT_TASK_TYPE_NOT_SUPPORT"},
    {507010, "ACL_ERROR_RT_LOST_HEARTBEAT"},
    {507014, "ACL_ERROR_RT_AICORE_TIMEOUT"},
    {507015, "ACL_ERROR_RT_AICORE_EXCEPTION"},
    {507016, "ACL_ERROR_RT_AICORE_TRAP_EXCEPTION"},
    {507017, "ACL_ERROR_RT_AICPU_TIMEOUT"},
    {507018, "ACL_ERROR_RT_AICPU_EXCEPTION"},
    {507899, "ACL_ERROR_RT_DRV_INTERNAL_ERROR"},
};

const char* device_code_name(AclStatus status) {
  for (const DeviceCode& code : kDeviceCodes)
    if (code.status == status)
      return code.name;
  return nullptr;
}

bool has_rule(AclStatus status) {
  return std::string(runtime::facts_of(static_cast<Code>(status)).name) != "unknown code";
}

// The latest error text of this thread; ACL clears it when it is read.
std::string recent_text(const AclFunctions& acl) {
  if (acl.aclGetRecentErrMsg == nullptr)
    return {};
  const char* text = acl.aclGetRecentErrMsg();
  return text == nullptr ? "" : text;
}

// The device that this process uses, and how many AclUse there are.
std::mutex use_mutex;
std::weak_ptr<const Acl> used;
int uses = 0;

std::atomic<std::uint64_t> next_serial{1};
thread_local std::uint64_t entered_serial = 0;

} // namespace

std::string code_name(AclStatus status) {
  if (const char* name = device_code_name(status))
    return name;
  return has_rule(status) ? runtime::facts_of(static_cast<Code>(status)).name : "";
}

Acl::Acl(std::shared_ptr<const Library> library, int device, bool owned)
    : library_(std::move(library)), device_(device), owned_(owned), serial_(next_serial++) {
  if (owned_) {
    const AclStatus status = call().aclInit(nullptr);
    if (status != kRepeatInitialize)
      check(status, "aclInit");
    initialized_ = status == 0;
  }
  try {
    std::uint32_t count = 0;
    check(call().aclrtGetDeviceCount(&count), "aclrtGetDeviceCount");
    if (device < 0 || static_cast<std::uint32_t>(device) >= count)
      throw runtime::Error(Code::kInvalidDeviceId, "device " + std::to_string(device),
                           "this machine has " + std::to_string(count));
    enter_thread();
  } catch (...) {
    if (initialized_)
      report(call().aclFinalize(), "aclFinalize");
    throw;
  }
}

void Acl::close() const noexcept {
  if (closed_.exchange(true))
    return;
  if (owned_)
    report(call().aclrtResetDevice(device_), "aclrtResetDevice");
  if (initialized_)
    report(call().aclFinalize(), "aclFinalize");
}

AclUse::AclUse(std::shared_ptr<const Library> library, int device, bool owned) {
  const std::lock_guard lock(use_mutex);
  const std::shared_ptr<const Acl> found = uses > 0 ? used.lock() : nullptr;
  if (found != nullptr && found->device() != device)
    throw runtime::Error(Code::kInvalidDeviceId, "device " + std::to_string(device),
                         "this process uses device " + std::to_string(found->device()));
  acl_ = found != nullptr ? found : std::make_shared<const Acl>(std::move(library), device, owned);
  acl_->enter_thread();
  used = acl_;
  ++uses;
}

AclUse& AclUse::operator=(AclUse&& other) noexcept {
  AclUse last;
  last.acl_ = std::exchange(acl_, std::exchange(other.acl_, nullptr));
  return *this;
}

AclUse::~AclUse() {
  if (acl_ == nullptr)
    return;
  const std::lock_guard lock(use_mutex);
  if (--uses == 0)
    acl_->close();
}

std::string Acl::soc_name() const {
  const char* name = call().aclrtGetSocName == nullptr ? nullptr : call().aclrtGetSocName();
  return name == nullptr ? "" : name;
}

void Acl::check(AclStatus status, const char* function) const {
  if (status == 0)
    return;
  std::string what = std::string(function) + " failed";
  if (const char* name = device_code_name(status))
    what += std::string(" with ") + name;
  throw runtime::Error(static_cast<Code>(status), what, recent_text(call()));
}

void Acl::report(AclStatus status, const char* function) const noexcept {
  if (status == 0)
    return;
  try {
    std::fprintf(stderr, "torchair: %s failed with %s (%d) while cleaning up: %s\n", function,
                 code_name(status).c_str(), status, recent_text(call()).c_str());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "torchair: %s failed with %d while cleaning up\n", function, status);
  }
}

void Acl::enter_thread() const {
  if (entered_serial == serial_)
    return;
  check(call().aclrtSetDevice(device_), "aclrtSetDevice");
  entered_serial = serial_;
}

Handle Acl::create_stream(std::uint32_t priority) const {
  Handle stream = nullptr;
  check(call().aclrtCreateStreamWithConfig(&stream, priority, kStreamFastLaunch | kStreamFastSync),
        "aclrtCreateStreamWithConfig");
  return stream;
}

void Acl::wait(Handle stream, const std::function<void()>& interrupt) const {
  AclStatus status = static_cast<AclStatus>(Code::kWaitTimeout);
  while (status == static_cast<AclStatus>(Code::kWaitTimeout)) {
    status = call().aclrtSynchronizeStreamWithTimeout(stream, kPollMilliseconds);
    interrupt();
  }
  check(status, "aclrtSynchronizeStreamWithTimeout");
}

void Acl::synchronize(Handle stream, std::int32_t timeout_ms) const {
  check(call().aclrtSynchronizeStreamWithTimeout(stream, timeout_ms),
        "aclrtSynchronizeStreamWithTimeout");
}

void Acl::copy(void* target, const void* source, std::size_t bytes, CopyKind kind) const {
  if (bytes == 0)
    return;
  check(call().aclrtMemcpy(target, bytes, source, bytes, static_cast<std::int32_t>(kind)),
        "aclrtMemcpy");
}

void Acl::copy_async(void* target, const void* source, std::size_t bytes, Handle stream) const {
  if (bytes == 0)
    return;
  check(call().aclrtMemcpyAsync(target, bytes, source, bytes,
                                static_cast<std::int32_t>(CopyKind::kDeviceToDevice), stream),
        "aclrtMemcpyAsync");
}

void* Acl::allocate(std::size_t bytes) const {
  void* address = nullptr;
  check(call().aclrtMalloc(&address, std::max<std::size_t>(bytes, 1), kMallocHugeFirst),
        "aclrtMalloc");
  return address;
}

void Acl::free(void* address) const noexcept {
  if (!closed_)
    report(call().aclrtFree(address), "aclrtFree");
}

} // namespace torchair::cann
