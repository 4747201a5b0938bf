// Events of the host device.
#pragma once

#include <memory>
#include <mutex>

#include "host/signal.h"
#include "runtime/runtime.h"

namespace torchair::host {

class Capture;
class DeviceState;

// Where a plain event was recorded last: on a stream, as the record number `ticket`, or in a
// capture, as its node `node`.
struct Record {
  std::uint64_t ticket = 0; // 0: never
  std::shared_ptr<Capture> capture = {};
  std::size_t node = 0;
};

class Event final : public runtime::Event {
public:
  Event(std::shared_ptr<DeviceState> device, runtime::EventKind kind);

  runtime::EventKind kind() const override { return kind_; }
  bool query() override;
  void synchronize(std::int32_t timeout_ms) override;

  // The latest record, after a capture that has ended was forgotten.
  Record latest();
  // A record on a stream: the number that the stream passes to signal() when it comes there.
  std::uint64_t issue();
  void record_in(std::shared_ptr<Capture> capture, std::size_t node);

  Signal& signal() { return signal_; }
  Flag& flag() { return flag_; }

private:
  // The ticket to wait for; 0 when there is nothing to wait for. Throws what a capture forbids.
  std::uint64_t ticket_to_await(const char* what);

  std::shared_ptr<DeviceState> device_;
  runtime::EventKind kind_;
  std::uint64_t generation_; // records of a process this one was forked from never come
  std::mutex mutex_;
  std::uint64_t issued_ = 0;
  Record latest_;
  Signal signal_; // plain
  Flag flag_;     // external
};

} // namespace torchair::host
