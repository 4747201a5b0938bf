// The host device: this machine's CPU behind the runtime interface.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "host/stream.h"
#include "runtime/runtime.h"

namespace torchair::host {

// What the streams and events of a device share.
class DeviceState {
public:
  std::mutex mutex; // guards every capture, and what follows
  std::vector<std::shared_ptr<Capture>> open_captures;
  std::uint64_t last_graph_id = 0;
  std::vector<std::weak_ptr<Stream>> streams;
  std::int32_t last_stream_id = 0;

  // Both need the mutex. `invalidate` breaks every open capture, with the reason.
  void forget(const std::shared_ptr<Capture>& capture);
  void invalidate(const std::string& reason);
};

class Device final : public runtime::Device {
public:
  Device();

  std::string name() const override { return "host"; }
  std::shared_ptr<runtime::Stream> default_stream() override { return default_stream_; }
  std::shared_ptr<runtime::Stream> create_stream(std::uint32_t priority) override;
  std::shared_ptr<runtime::Event> create_event(runtime::EventKind kind) override;
  std::shared_ptr<runtime::MemoryPool> create_pool() override;
  void synchronize() override;
  void copy(void* target, const void* source, std::size_t bytes) override;
  runtime::CaptureMode exchange_thread_mode(runtime::CaptureMode mode) override;

private:
  std::shared_ptr<Stream> make_stream(bool is_default);
  std::vector<std::shared_ptr<Stream>> streams() const;

  std::shared_ptr<DeviceState> state_;
  std::shared_ptr<Stream> default_stream_;
};

} // namespace torchair::host
