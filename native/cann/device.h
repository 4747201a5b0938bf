// The NPU behind the runtime interface.
#pragma once

#include "cann/allocator.h"
#include "cann/stream.h"

namespace torchair::cann {

class DevicePool final : public runtime::MemoryPool {
public:
  explicit DevicePool(std::shared_ptr<const Acl> acl) : memory_(std::move(acl)) {}
  void* allocate(std::size_t bytes) override { return memory_.allocate(bytes); }
  void free(void* address) override;
  std::size_t bytes_in_use() const override { return memory_.bytes_in_use(); }
  std::size_t bytes_reserved() const override { return memory_.bytes_reserved(); }
  std::size_t bytes_peak() const override { return memory_.bytes_peak(); }

private:
  CachingAllocator memory_;
};

class NpuDevice final : public runtime::Device {
public:
  explicit NpuDevice(AclUse use);
  ~NpuDevice() override { close(); }
  std::string name() const override { return "cann"; }
  std::shared_ptr<runtime::Stream> default_stream() override;
  std::shared_ptr<runtime::Stream> create_stream(std::uint32_t priority) override;
  std::shared_ptr<runtime::Stream> borrow_stream(void* native) override;
  std::shared_ptr<runtime::Event> create_event(runtime::EventKind kind) override;
  std::shared_ptr<runtime::MemoryPool> create_pool() override;
  void synchronize() override;
  void copy(void* target, const void* source, std::size_t bytes) override;
  runtime::CaptureMode exchange_thread_mode(runtime::CaptureMode mode) override;
  // Gives up the device; what was made from it can only be destroyed from then on, if nobody else
  // in the process uses the device.
  void close() noexcept;

private:
  const Acl& acl() const;
  std::shared_ptr<const Acl> share() const;
  static std::int32_t id_of(const Acl& acl, Handle stream);

  mutable std::mutex mutex_;
  AclUse use_;
  std::shared_ptr<Recordings> recordings_ = std::make_shared<Recordings>();
  std::shared_ptr<runtime::Stream> default_stream_;
};

} // namespace torchair::cann
