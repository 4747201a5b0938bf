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
  if (status != 0)
    throw runtime::Error(static_cast<Code>(status), std::string(function) + " failed",
                         recent_text(call()));
}

void Acl::report(AclStatus status, const char* function) const noexcept {
  if (status == 0)
    return;
  try {
    std::fprintf(stderr, "torchair: %s failed with %s (%d) while cleaning up: %s\n", function,
                 runtime::facts_of(static_cast<Code>(status)).name, status,
                 recent_text(call()).c_str());
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
