#include "cann/device.h"

namespace torchair::cann {

using runtime::Code;
using runtime::Error;

void DevicePool::free(void* address) {
  if (!memory_.owns(address))
    throw Error(Code::kParamInvalid, "freeing memory that is not of this pool");
  memory_.free(address);
}

NpuDevice::NpuDevice(AclUse use) : use_(std::move(use)) {
  acl().library().require({Need::kCapture}, "to capture graphs");
}

std::shared_ptr<const Acl> NpuDevice::share() const {
  const std::lock_guard lock(mutex_);
  if (use_.get() == nullptr)
    throw Error(Code::kInvalidHandle, "the device was closed");
  use_.get()->enter_thread();
  return use_.get();
}

const Acl& NpuDevice::acl() const { return *share(); }

std::shared_ptr<runtime::Stream> NpuDevice::default_stream() {
  const std::shared_ptr<const Acl> acl = share();
  const std::lock_guard lock(mutex_);
  if (default_stream_ == nullptr)
    default_stream_ = std::make_shared<DeviceStream>(
        acl, recordings_, std::make_shared<OwnedStream>(acl, nullptr), 0);
  return default_stream_;
}

std::shared_ptr<runtime::Stream> NpuDevice::create_stream(std::uint32_t priority) {
  const std::shared_ptr<const Acl> acl = share();
  const auto stream = std::make_shared<OwnedStream>(acl, acl->create_stream(priority));
  return std::make_shared<DeviceStream>(acl, recordings_, stream, id_of(*acl, stream->get()));
}

std::shared_ptr<runtime::Stream> NpuDevice::borrow_stream(void* native) {
  if (native == nullptr)
    return default_stream();
  const std::shared_ptr<const Acl> acl = share();
  const std::int32_t id = id_of(*acl, native); // fails for a handle that is no stream
  return std::make_shared<DeviceStream>(acl, recordings_,
                                        std::make_shared<OwnedStream>(acl, native, true), id);
}

// For texts. -1 where a release cannot tell.
std::int32_t NpuDevice::id_of(const Acl& acl, Handle stream) {
  std::int32_t id = -1;
  if (acl.call().aclrtStreamGetId != nullptr)
    acl.check(acl.call().aclrtStreamGetId(stream, &id), "aclrtStreamGetId");
  return id;
}

std::shared_ptr<runtime::Event> NpuDevice::create_event(runtime::EventKind kind) {
  return std::make_shared<DeviceEvent>(share(), kind);
}

std::shared_ptr<runtime::MemoryPool> NpuDevice::create_pool() {
  return std::make_shared<DevicePool>(share());
}

void NpuDevice::synchronize() {
  acl().check(acl().call().aclrtSynchronizeDevice(), "aclrtSynchronizeDevice");
}

void NpuDevice::copy(void* target, const void* source, std::size_t bytes) {
  acl().copy(target, source, bytes, CopyKind::kAny);
}

runtime::CaptureMode NpuDevice::exchange_thread_mode(runtime::CaptureMode mode) {
  auto number = static_cast<std::uint32_t>(mode);
  acl().check(acl().call().aclmdlRICaptureThreadExchangeMode(&number),
              "aclmdlRICaptureThreadExchangeMode");
  return static_cast<runtime::CaptureMode>(number);
}

void NpuDevice::close() noexcept {
  AclUse last;
  const std::lock_guard lock(mutex_);
  last = std::move(use_);
  default_stream_.reset();
}

} // namespace torchair::cann
