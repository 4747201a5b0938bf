// The ACL runtime: calls that throw, the device of a thread, and start and end of ACL.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "cann/loader.h"
#include "runtime/status.h"

namespace torchair::cann {

inline constexpr int kRepeatInitialize = 100002; // ACL_ERROR_REPEAT_INITIALIZE

enum class CopyKind : std::int32_t {
  kHostToDevice = 1,
  kDeviceToHost = 2,
  kDeviceToDevice = 3,
  kAny = 4
};

// One device of a process.
//
// When torch_npu is there, it starts and ends ACL; then this class does neither.
class Acl {
public:
  // Makes `device` the calling thread's. Throws runtime::Error; kInvalidDeviceId when there is no
  // such device, with the number there are.
  Acl(std::shared_ptr<const Library> library, int device, bool owned);
  Acl(const Acl&) = delete;
  Acl& operator=(const Acl&) = delete;
  ~Acl() { close(); }
  // Resets the device and ends ACL, when owned. Memory that is freed later is gone already. A
  // second call does nothing.
  void close() const noexcept;
  bool closed() const noexcept { return closed_; }

  const Library& library() const noexcept { return *library_; }
  const AclFunctions& call() const noexcept { return library_->acl(); }
  int device() const noexcept { return device_; }
  std::string soc_name() const; // empty when ACL does not say

  // Throws runtime::Error for a code other than 0, with the name and text of ACL.
  void check(AclStatus status, const char* function) const;
  // ACL keeps the current device per thread: every thread calls this before anything else. Cheap
  // from the second time on.
  void enter_thread() const;

  Handle create_stream(std::uint32_t priority) const;
  // Blocks; calls `interrupt` about twice a second, which may throw to stop waiting.
  void wait(Handle stream, const std::function<void()>& interrupt) const;
  // Throws kWaitTimeout after `timeout_ms`, -1: never.
  void synchronize(Handle stream, std::int32_t timeout_ms) const;
  // Blocking.
  void copy(void* target, const void* source, std::size_t bytes, CopyKind kind) const;
  // Queues a copy; from the device to the device, or with host memory that ACL has pinned.
  void copy_async(void* target, const void* source, std::size_t bytes, Handle stream) const;
  void* allocate(std::size_t bytes) const;
  // For destructors: the error text goes to stderr, because there is nobody to throw to.
  void free(void* address) const noexcept;
  void report(AclStatus status, const char* function) const noexcept;

private:
  std::shared_ptr<const Library> library_;
  int device_;
  bool owned_;
  bool initialized_ = false; // by this object
  mutable std::atomic<bool> closed_{false};
  std::uint64_t serial_;
};

// A share in the process's use of a device. The last one that goes closes the Acl, though streams
// and memory may still hold the object.
class AclUse {
public:
  AclUse() = default;
  // Joins the use of `device` in this process, or begins it; arguments as Acl's.
  AclUse(std::shared_ptr<const Library> library, int device, bool owned);
  AclUse(AclUse&& other) noexcept = default;
  AclUse& operator=(AclUse&& other) noexcept;
  ~AclUse();
  const std::shared_ptr<const Acl>& get() const noexcept { return acl_; }

private:
  std::shared_ptr<const Acl> acl_;
};

} // namespace torchair::cann
