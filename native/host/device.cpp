#include "host/device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "host/pool.h"

namespace torchair::host {

using runtime::CaptureMode;
using runtime::Code;
using runtime::Error;

namespace {

thread_local CaptureMode thread_mode = CaptureMode::kGlobal;

// Whether a capture forbids the calling thread what only some modes forbid.
bool forbids(const Capture& capture) {
  if (capture.mode() == CaptureMode::kRelaxed || thread_mode == CaptureMode::kRelaxed)
    return false;
  if (capture.owner() == std::this_thread::get_id())
    return true;
  return capture.mode() == CaptureMode::kGlobal && thread_mode == CaptureMode::kGlobal;
}

} // namespace

void DeviceState::forget(const std::shared_ptr<Capture>& capture) {
  capture->close();
  std::erase(open_captures, capture);
}

void DeviceState::invalidate(const std::string& reason) {
  for (const auto& capture : open_captures)
    capture->invalidate(reason);
}

Device::Device() : state_(std::make_shared<DeviceState>()), default_stream_(make_stream(true)) {}

std::shared_ptr<Stream> Device::make_stream(bool is_default) {
  const std::lock_guard lock(state_->mutex);
  auto stream = std::make_shared<Stream>(state_, state_->last_stream_id++, is_default);
  std::erase_if(state_->streams, [](const auto& weak) { return weak.expired(); });
  state_->streams.push_back(stream);
  return stream;
}

std::shared_ptr<runtime::Stream> Device::create_stream(std::uint32_t) { return make_stream(false); }

std::shared_ptr<runtime::Event> Device::create_event(runtime::EventKind kind) {
  return std::make_shared<Event>(state_, kind);
}

std::shared_ptr<runtime::MemoryPool> Device::create_pool() { return std::make_shared<Pool>(); }

std::vector<std::shared_ptr<Stream>> Device::streams() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::shared_ptr<Stream>> alive;
  for (const auto& weak : state_->streams)
    if (auto stream = weak.lock())
      alive.push_back(std::move(stream));
  return alive;
}

void Device::synchronize() {
  {
    const std::lock_guard lock(state_->mutex);
    if (!state_->open_captures.empty()) {
      state_->invalidate("the device was synchronized");
      throw Error(Code::kCaptureModeNotSupport, "the device cannot be synchronized",
                  "A capture is on");
    }
  }
  for (const auto& stream : streams())
    stream->synchronize(-1);
}

void Device::copy(void* target, const void* source, std::size_t bytes) {
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& capture : state_->open_captures)
      if (forbids(*capture)) {
        capture->invalidate("a blocking copy was made");
        throw Error(Code::kCaptureModeNotSupport, "a blocking copy cannot be made",
                    "A capture is on. Try: capture in mode relaxed, or set this thread's mode");
      }
  }
  std::memmove(target, source, bytes);
}

CaptureMode Device::exchange_thread_mode(CaptureMode mode) {
  return std::exchange(thread_mode, mode);
}

} // namespace torchair::host
