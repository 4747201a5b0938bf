// Streams and events of ACL behind the runtime interface.
#pragma once

#include <atomic>

#include "cann/graph.h"

namespace torchair::cann {

class DeviceEvent final : public runtime::Event {
public:
  DeviceEvent(std::shared_ptr<const Acl> acl, runtime::EventKind kind)
      : acl_(acl), event_(std::make_shared<OwnedEvent>(std::move(acl), kind)), kind_(kind) {}
  runtime::EventKind kind() const override { return kind_; }
  bool query() override;
  void synchronize(std::int32_t timeout_ms) override;

  const std::shared_ptr<const OwnedEvent>& owned() const noexcept { return event_; }
  Handle get() const noexcept { return event_->get(); }
  bool recorded() const noexcept { return recorded_; }
  void set_recorded() noexcept { recorded_ = true; }

private:
  std::shared_ptr<const Acl> acl_;
  std::shared_ptr<const OwnedEvent> event_;
  runtime::EventKind kind_;
  std::atomic<bool> recorded_{false};
};

class DeviceStream final : public runtime::Stream {
public:
  DeviceStream(std::shared_ptr<const Acl> acl, std::shared_ptr<Recordings> recordings,
               std::shared_ptr<const OwnedStream> stream, std::int32_t id)
      : acl_(std::move(acl)), recordings_(std::move(recordings)), stream_(std::move(stream)),
        id_(id) {}
  std::int32_t id() const override { return id_; }
  void* native() const override { return stream_->get(); }
  void launch(std::shared_ptr<runtime::Task> task) override;
  void record(const std::shared_ptr<runtime::Event>& event) override;
  void wait(const std::shared_ptr<runtime::Event>& event) override;
  void reset(const std::shared_ptr<runtime::Event>& event) override;
  bool query() override;
  void synchronize(std::int32_t timeout_ms) override;
  void begin_capture(runtime::CaptureMode mode, std::shared_ptr<runtime::MemoryPool> pool) override;
  runtime::CaptureInfo capture_info() const override;
  std::shared_ptr<runtime::Graph> end_capture() override;
  void begin_task_group() override;
  std::shared_ptr<runtime::TaskGroup> end_task_group() override;
  void begin_update(const std::shared_ptr<runtime::TaskGroup>& group) override;
  void end_update() override;

private:
  // The status of the capture on this stream, and its model.
  std::pair<runtime::CaptureStatus, Handle> capture() const;
  std::shared_ptr<Recording> recording() const; // null when not capturing
  std::shared_ptr<Recording> require_recording() const;
  DeviceEvent& own(const std::shared_ptr<runtime::Event>& event) const;
  void keep(const DeviceEvent& event) const;
  void abandon_capture() const;
  void hold(std::shared_ptr<runtime::Task> task);

  std::shared_ptr<const Acl> acl_;
  std::shared_ptr<Recordings> recordings_;
  std::shared_ptr<const OwnedStream> stream_;
  std::int32_t id_;
  std::vector<std::shared_ptr<runtime::Task>> queued_; // alive until the stream has passed them
  std::shared_ptr<CapturedTaskGroup> updating_;
  std::vector<std::shared_ptr<runtime::Task>> update_;
};

} // namespace torchair::cann
