// Streams of the host device: a worker thread each.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "host/capture.h"
#include "host/graph.h"
#include "host/worker.h"
#include "runtime/runtime.h"

namespace torchair::host {

class Stream final : public runtime::Stream {
public:
  Stream(std::shared_ptr<DeviceState> device, std::int32_t id, bool is_default);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() override;

  std::int32_t id() const override { return id_; }
  void* native() const override { return nullptr; }

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

  // Queues work that a failure earlier on the stream skips.
  void enqueue(Worker::Job job);
  // Waits for the queue without looking at captures and failures. False when the time is over.
  bool await_idle(std::chrono::milliseconds timeout) { return worker_.await_idle(timeout); }

private:
  // All of these need the device's mutex.
  std::shared_ptr<Capture> capture() const; // null when this stream is not capturing
  void refuse_default(const char* what) const;
  void capture_wait(const std::shared_ptr<Event>& event);
  std::shared_ptr<Graph> finish(const std::shared_ptr<Capture>& capture);
  // Throws and invalidates the capture of this stream when there is one.
  void refuse_while_capturing(const char* what);

  std::shared_ptr<DeviceState> device_;
  std::int32_t id_;
  bool is_default_;
  std::shared_ptr<Capture> capture_;
  std::shared_ptr<TaskGroup> update_;
  std::vector<std::shared_ptr<runtime::Task>> update_tasks_;

  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  Worker worker_; // last: its jobs use the members above
};

} // namespace torchair::host
