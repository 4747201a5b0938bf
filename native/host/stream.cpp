#include "host/stream.h"

#include <utility>

#include "host/device.h"

namespace torchair::host {

using runtime::CaptureMode;
using runtime::CaptureStatus;
using runtime::Code;
using runtime::Error;
using runtime::EventKind;

namespace {

std::shared_ptr<Event> host_event(const std::shared_ptr<runtime::Event>& event) {
  auto found = std::dynamic_pointer_cast<Event>(event);
  if (!found)
    throw Error(Code::kParamInvalid, "an event belongs to another device");
  return found;
}

} // namespace

Stream::Stream(std::shared_ptr<DeviceState> device, std::int32_t id, bool is_default)
    : device_(std::move(device)), id_(id), is_default_(is_default) {}

// A capture that began here and was not ended leaves the other streams usable.
Stream::~Stream() {
  const std::lock_guard lock(device_->mutex);
  if (const auto capture = this->capture(); capture && capture->origin() == this) {
    device_->forget(capture);
    capture->take_nodes();
  }
}

std::shared_ptr<Capture> Stream::capture() const {
  return capture_ && capture_->is_open() ? capture_ : nullptr;
}

void Stream::refuse_default(const char* what) const {
  if (is_default_ && !device_->open_captures.empty())
    throw Error(Code::kStreamCaptureImplicit, what);
}

void Stream::enqueue(Worker::Job job) {
  worker_.submit([this, job = std::move(job)] {
    {
      const std::lock_guard lock(failure_mutex_);
      if (failure_)
        return;
    }
    try {
      job();
    } catch (const Stopped&) {
      throw;
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      failure_ = std::current_exception();
    }
  });
}

void Stream::launch(std::shared_ptr<runtime::Task> task) {
  {
    const std::lock_guard lock(device_->mutex);
    refuse_default("a task cannot be launched on the default stream");
    if (const auto capture = this->capture()) {
      capture->add(
          {.kind = Node::Kind::kTask, .lane = capture->lane_of(this), .task = std::move(task)});
      return;
    }
    if (update_) {
      update_tasks_.push_back(std::move(task));
      return;
    }
  }
  enqueue([task = std::move(task)] { task->run(nullptr); });
}

void Stream::record(const std::shared_ptr<runtime::Event>& event) {
  const auto found = host_event(event);
  const bool external = found->kind() == EventKind::kExternal;
  std::uint64_t ticket = 0;
  {
    const std::lock_guard lock(device_->mutex);
    refuse_default("an event cannot be recorded on the default stream");
    if (const auto capture = this->capture()) {
      const std::size_t node =
          capture->add({.kind = external ? Node::Kind::kExternalRecord : Node::Kind::kRecord,
                        .lane = capture->lane_of(this),
                        .event = found});
      if (!external)
        found->record_in(capture, node);
      return;
    }
    if (!external)
      ticket = found->issue();
  }
  // Not by enqueue(): records are made whatever failed before, or waiters would hang.
  if (external)
    worker_.submit([found] { found->flag().set(); });
  else
    worker_.submit([found, ticket] { found->signal().reach(ticket); });
}

void Stream::wait(const std::shared_ptr<runtime::Event>& event) {
  const auto found = host_event(event);
  if (found->kind() == EventKind::kExternal) {
    const std::lock_guard lock(device_->mutex);
    refuse_default("the default stream cannot wait for an event");
    if (const auto capture = this->capture())
      capture->add(
          {.kind = Node::Kind::kExternalWait, .lane = capture->lane_of(this), .event = found});
    else
      worker_.submit([found] { found->flag().await(); });
    return;
  }
  std::uint64_t ticket = 0;
  {
    const std::lock_guard lock(device_->mutex);
    refuse_default("the default stream cannot wait for an event");
    const Record record = found->latest();
    if (record.capture || this->capture())
      return capture_wait(found);
    ticket = record.ticket;
  }
  if (ticket != 0)
    worker_.submit([found, ticket] { found->signal().await(ticket); });
}

void Stream::capture_wait(const std::shared_ptr<Event>& event) {
  const Record record = event->latest();
  const auto capture = this->capture();
  if (!record.capture) {
    capture->invalidate("a wait for an event that was not recorded in the capture");
    throw Error(Code::kCaptureDependency, "a captured stream cannot wait for this event",
                "Record it on a stream of the capture first, or use an external event");
  }
  if (capture && capture != record.capture) {
    capture->invalidate("a wait for an event of another capture");
    record.capture->invalidate("another capture waited for an event");
    throw Error(Code::kStreamCaptureConflict, "a stream cannot wait for this event");
  }
  std::size_t lane = 0;
  if (capture) {
    lane = capture->lane_of(this);
  } else {
    if (update_)
      throw Error(Code::kTaskGroupStatus, "a stream cannot join a capture", "An update is open");
    capture_ = record.capture;
    lane = capture_->join(this);
  }
  capture_->add({.kind = Node::Kind::kWait, .lane = lane, .record = record.node, .event = event});
}

void Stream::reset(const std::shared_ptr<runtime::Event>& event) {
  const auto found = host_event(event);
  if (found->kind() != EventKind::kExternal)
    throw Error(Code::kParamInvalid, "a plain event cannot be reset", "It needs no reset");
  const std::lock_guard lock(device_->mutex);
  refuse_default("an event cannot be reset on the default stream");
  if (const auto capture = this->capture())
    capture->add(
        {.kind = Node::Kind::kExternalReset, .lane = capture->lane_of(this), .event = found});
  else
    worker_.submit([found] { found->flag().clear(); });
}

void Stream::refuse_while_capturing(const char* what) {
  const std::lock_guard lock(device_->mutex);
  refuse_default(what);
  if (const auto capture = this->capture()) {
    capture->invalidate(what);
    throw Error(Code::kCaptureModeNotSupport, what, "The stream is capturing");
  }
}

bool Stream::query() {
  refuse_while_capturing("a stream cannot be queried");
  return worker_.is_idle();
}

void Stream::synchronize(std::int32_t timeout_ms) {
  refuse_while_capturing("a stream cannot be synchronized");
  if (!worker_.await_idle(std::chrono::milliseconds(timeout_ms)))
    throw Error(Code::kWaitTimeout, "a stream is still busy",
                "The limit was " + std::to_string(timeout_ms) + " ms");
  std::exception_ptr failure;
  {
    const std::lock_guard lock(failure_mutex_);
    failure = std::exchange(failure_, nullptr);
  }
  if (failure)
    std::rethrow_exception(failure);
}

void Stream::begin_capture(CaptureMode mode, std::shared_ptr<runtime::MemoryPool> pool) {
  const std::lock_guard lock(device_->mutex);
  if (is_default_)
    throw Error(Code::kStreamCaptureImplicit, "a capture cannot begin", "Create a stream for it");
  if (this->capture())
    throw Error(Code::kStreamCaptured, "a capture cannot begin");
  if (update_)
    throw Error(Code::kTaskGroupStatus, "a capture cannot begin", "An update is open");
  capture_ = std::make_shared<Capture>(++device_->last_graph_id, mode, this, std::move(pool));
  device_->open_captures.push_back(capture_);
}

runtime::CaptureInfo Stream::capture_info() const {
  const std::lock_guard lock(device_->mutex);
  const auto capture = this->capture();
  if (!capture)
    return {CaptureStatus::kNone, 0};
  const bool broken = !capture->broken().empty();
  return {broken ? CaptureStatus::kInvalidated : CaptureStatus::kActive, capture->id()};
}

std::shared_ptr<runtime::Graph> Stream::end_capture() {
  const std::lock_guard lock(device_->mutex);
  const auto capture = this->capture();
  if (!capture)
    throw Error(Code::kStreamNotCaptured, "no capture can end here");
  if (capture->origin() != this)
    throw Error(Code::kStreamCaptureUnmatched, "a capture cannot end here");
  if (capture->mode() != CaptureMode::kRelaxed && capture->owner() != std::this_thread::get_id())
    throw Error(Code::kStreamCaptureWrongThread, "a capture cannot end here");
  device_->forget(capture);
  return finish(capture);
}

std::shared_ptr<Graph> Stream::finish(const std::shared_ptr<Capture>& capture) {
  const auto unjoined = capture->unjoined();
  auto nodes = capture->take_nodes(); // in any case: an ended capture holds no tasks
  if (!capture->broken().empty())
    throw Error(Code::kStreamCaptureInvalidated, "the capture has no graph",
                "Reason: " + capture->broken());
  if (capture->has_open_group())
    throw Error(Code::kTaskGroupStatus, "the capture has no graph", "A task group is open");

  if (!unjoined.empty())
    throw Error(Code::kStreamUnjoined, "the capture has no graph",
                std::to_string(unjoined.size()) + " of its " + std::to_string(capture->n_lanes()) +
                    " streams do not lead back");
  auto graph =
      std::make_shared<Graph>(capture->id(), std::move(nodes), capture->n_lanes(), capture->pool());
  for (const auto& group : capture->groups())
    group->graph = graph;
  return graph;
}

void Stream::begin_task_group() {
  const std::lock_guard lock(device_->mutex);
  const auto capture = this->capture();
  if (!capture)
    throw Error(Code::kStreamNotCaptured, "a task group cannot begin");
  capture->begin_group(capture->lane_of(this));
}

std::shared_ptr<runtime::TaskGroup> Stream::end_task_group() {
  const std::lock_guard lock(device_->mutex);
  const auto capture = this->capture();
  if (!capture)
    throw Error(Code::kStreamNotCaptured, "a task group cannot end");
  auto group =
      std::make_shared<TaskGroup>(capture->id(), capture->end_group(capture->lane_of(this)));
  capture->keep(group);
  return group;
}

void Stream::begin_update(const std::shared_ptr<runtime::TaskGroup>& group) {
  const std::lock_guard lock(device_->mutex);
  if (this->capture())
    throw Error(Code::kStreamCaptured, "an update cannot begin");
  const auto found = std::dynamic_pointer_cast<TaskGroup>(group);
  if (!found)
    throw Error(Code::kParamInvalid, "a task group belongs to another device");
  if (update_ || found->updating)
    throw Error(Code::kTaskGroupStatus, "an update cannot begin",
                update_ ? "The stream has an open update" : "Another stream updates the group");
  if (found->graph.expired())
    throw Error(Code::kInvalidHandle, "an update cannot begin",
                "The graph of the group is not captured yet, or gone");
  found->updating = true;
  update_ = found;
}

void Stream::end_update() {
  const std::lock_guard lock(device_->mutex);
  if (!update_)
    throw Error(Code::kTaskGroupStatus, "an update cannot end", "None is open");
  const auto group = std::exchange(update_, nullptr);
  auto tasks = std::exchange(update_tasks_, {});
  group->updating = false;
  if (const auto graph = group->graph.lock())
    graph->update(group->range, std::move(tasks));
  else
    throw Error(Code::kInvalidHandle, "an update cannot end", "The graph of the group is gone");
}

} // namespace torchair::host
