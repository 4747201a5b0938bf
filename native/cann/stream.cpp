#include "cann/stream.h"

#include <chrono>
#include <thread>
#include <utility>

namespace torchair::cann {
namespace {

using runtime::CaptureStatus;
using runtime::Code;
using runtime::Error;

constexpr std::int32_t kRecorded = 1;       // aclrtEventRecordedStatus
constexpr std::int32_t kStreamComplete = 0; // aclrtStreamStatus
constexpr auto kPollInterval = std::chrono::microseconds(100);
constexpr std::size_t kMostQueued = 1024;

AclStatus as_status(Code code) { return static_cast<AclStatus>(code); }

} // namespace

// ---------------------------------------------------------------- events

bool DeviceEvent::query() {
  if (!recorded_)
    return true;
  acl_->enter_thread();
  std::int32_t status = kRecorded;
  acl_->check(acl_->call().aclrtQueryEventStatus(get(), &status), "aclrtQueryEventStatus");
  return status == kRecorded;
}

// aclrtSynchronizeEvent has no limit, so a limit is kept by asking.
void DeviceEvent::synchronize(std::int32_t timeout_ms) {
  if (timeout_ms < 0) {
    if (recorded_) {
      acl_->enter_thread();
      acl_->check(acl_->call().aclrtSynchronizeEvent(get()), "aclrtSynchronizeEvent");
    }
    return;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!query()) {
    if (std::chrono::steady_clock::now() >= end)
      throw Error(Code::kWaitTimeout, "waiting for an event");
    std::this_thread::sleep_for(kPollInterval);
  }
}

// ---------------------------------------------------------------- work

std::pair<CaptureStatus, Handle> DeviceStream::capture() const {
  if (native() == nullptr)
    return {CaptureStatus::kNone, nullptr};
  std::uint32_t status = 0;
  Handle model = nullptr;
  acl_->check(acl_->call().aclmdlRICaptureGetInfo(native(), &status, &model),
              "aclmdlRICaptureGetInfo");
  return {static_cast<CaptureStatus>(status), status == 0 ? nullptr : model};
}

std::shared_ptr<Recording> DeviceStream::recording() const {
  const auto [status, model] = capture();
  return status == CaptureStatus::kNone ? nullptr : recordings_->find(model);
}

std::shared_ptr<Recording> DeviceStream::require_recording() const {
  std::shared_ptr<Recording> found = recording();
  if (found == nullptr)
    throw Error(Code::kStreamNotCaptured, "stream " + std::to_string(id_));
  return found;
}

// The device has queues of its own: the task puts its kernels there now, and they run later.
void DeviceStream::launch(std::shared_ptr<runtime::Task> task) {
  acl_->enter_thread();
  const std::shared_ptr<Recording> recording = this->recording();
  if (recording != nullptr) {
    const std::lock_guard lock(recording->mutex);
    if (recording->grouping != nullptr && recording->grouping != native())
      throw Error(Code::kTaskGroupInterrupted, task->describe());
  }
  task->run(native());
  if (updating_ != nullptr) {
    update_.push_back(std::move(task));
    return;
  }
  if (recording == nullptr) {
    hold(std::move(task));
    return;
  }
  const std::lock_guard lock(recording->mutex);
  recording->tasks.push_back(std::move(task));
}

void DeviceStream::hold(std::shared_ptr<runtime::Task> task) {
  if (queued_.size() >= kMostQueued)
    synchronize(-1); // nobody has waited for long; what the tasks hold must not pile up
  queued_.push_back(std::move(task));
}

DeviceEvent& DeviceStream::own(const std::shared_ptr<runtime::Event>& event) const {
  auto* found = dynamic_cast<DeviceEvent*>(event.get());
  if (found == nullptr)
    throw Error(Code::kInvalidHandle, "an event of another device");
  return *found;
}

void DeviceStream::keep(const DeviceEvent& event) const {
  const std::shared_ptr<Recording> recording = this->recording();
  if (recording == nullptr)
    return;
  const std::lock_guard lock(recording->mutex);
  recording->events.insert(event.owned());
  recording->streams.insert(stream_);
}

void DeviceStream::record(const std::shared_ptr<runtime::Event>& event) {
  acl_->enter_thread();
  DeviceEvent& own_event = own(event);
  acl_->check(acl_->call().aclrtRecordEvent(own_event.get(), native()), "aclrtRecordEvent");
  own_event.set_recorded();
  keep(own_event);
}

void DeviceStream::wait(const std::shared_ptr<runtime::Event>& event) {
  acl_->enter_thread();
  DeviceEvent& own_event = own(event);
  const bool is_external = own_event.kind() == runtime::EventKind::kExternal;
  if (!own_event.recorded() && !is_external && capture().first == CaptureStatus::kNone)
    return;
  acl_->check(acl_->call().aclrtStreamWaitEvent(native(), own_event.get()), "aclrtStreamWaitEvent");
  keep(own_event);
}

void DeviceStream::reset(const std::shared_ptr<runtime::Event>& event) {
  acl_->enter_thread();
  DeviceEvent& own_event = own(event);
  if (own_event.kind() != runtime::EventKind::kExternal)
    throw Error(Code::kParamInvalid, "only external events are reset");
  acl_->check(acl_->call().aclrtResetEvent(own_event.get(), native()), "aclrtResetEvent");
  keep(own_event);
}

bool DeviceStream::query() {
  acl_->enter_thread();
  std::int32_t status = kStreamComplete;
  acl_->check(acl_->call().aclrtStreamQuery(native(), &status), "aclrtStreamQuery");
  return status == kStreamComplete;
}

void DeviceStream::synchronize(std::int32_t timeout_ms) {
  acl_->enter_thread();
  const AclStatus status = acl_->call().aclrtSynchronizeStreamWithTimeout(native(), timeout_ms);
  const bool is_over =
      status != as_status(Code::kWaitTimeout) && status != as_status(Code::kCaptureModeNotSupport);
  if (is_over)
    queued_.clear();
  acl_->check(status, "aclrtSynchronizeStreamWithTimeout");
}

// ---------------------------------------------------------------- capture

void DeviceStream::begin_capture(runtime::CaptureMode mode,
                                 std::shared_ptr<runtime::MemoryPool> pool) {
  if (native() == nullptr)
    throw Error(Code::kStreamCaptureImplicit, "capturing the default stream");
  acl_->library().require({Need::kCapture}, "to capture graphs");
  acl_->enter_thread();
  acl_->check(acl_->call().aclmdlRICaptureBegin(native(), static_cast<std::uint32_t>(mode)),
              "aclmdlRICaptureBegin");
  auto recording = std::make_shared<Recording>();
  recording->pool = std::move(pool);
  recording->streams.insert(stream_);
  try {
    recordings_->add(capture().second, std::move(recording));
  } catch (const Error&) {
    abandon_capture();
    throw;
  }
}

// A capture that nobody can refer to must not stay on the stream.
void DeviceStream::abandon_capture() const {
  Handle model = nullptr;
  const AclStatus status = acl_->call().aclmdlRICaptureEnd(native(), &model);
  acl_->report(status, "aclmdlRICaptureEnd");
  if (status == 0)
    acl_->report(acl_->call().aclmdlRIDestroy(model), "aclmdlRIDestroy");
}

runtime::CaptureInfo DeviceStream::capture_info() const {
  acl_->enter_thread();
  const auto [status, model] = capture();
  if (status == CaptureStatus::kNone)
    return {status, 0};
  return {status, reinterpret_cast<std::uintptr_t>(model)};
}

std::shared_ptr<runtime::Graph> DeviceStream::end_capture() {
  acl_->enter_thread();
  const auto [capturing, captured] = capture();
  Handle model = nullptr;
  const AclStatus status = acl_->call().aclmdlRICaptureEnd(native(), &model);
  const bool is_on = status == as_status(Code::kStreamCaptureWrongThread) ||
                     status == as_status(Code::kStreamCaptureUnmatched);
  std::shared_ptr<Recording> recording =
      is_on || captured == nullptr ? nullptr : recordings_->take(captured);
  acl_->check(status, "aclmdlRICaptureEnd");
  return std::make_shared<CapturedGraph>(acl_, model, std::move(recording));
}

void DeviceStream::begin_task_group() {
  acl_->enter_thread();
  acl_->check(acl_->call().aclmdlRICaptureTaskGrpBegin(native()), "aclmdlRICaptureTaskGrpBegin");
  const std::shared_ptr<Recording> recording = require_recording();
  const std::lock_guard lock(recording->mutex);
  recording->grouping = native();
  recording->group_begin = recording->tasks.size();
}

std::shared_ptr<runtime::TaskGroup> DeviceStream::end_task_group() {
  acl_->enter_thread();
  Handle group = nullptr;
  acl_->check(acl_->call().aclmdlRICaptureTaskGrpEnd(native(), &group),
              "aclmdlRICaptureTaskGrpEnd");
  const std::shared_ptr<Recording> recording = require_recording();
  const std::lock_guard lock(recording->mutex);
  recording->grouping = nullptr;
  return std::make_shared<CapturedTaskGroup>(group, recording, recording->group_begin,
                                             recording->tasks.size());
}

void DeviceStream::begin_update(const std::shared_ptr<runtime::TaskGroup>& group) {
  auto found = std::dynamic_pointer_cast<CapturedTaskGroup>(group);
  if (found == nullptr || found->recording() == nullptr)
    throw Error(Code::kInvalidHandle, "the task group of a graph that is gone");
  acl_->enter_thread();
  acl_->check(acl_->call().aclmdlRICaptureTaskUpdateBegin(native(), found->handle()),
              "aclmdlRICaptureTaskUpdateBegin");
  updating_ = std::move(found);
  update_.clear();
}

void DeviceStream::end_update() {
  acl_->enter_thread();
  const std::shared_ptr<CapturedTaskGroup> group = std::exchange(updating_, nullptr);
  std::vector<std::shared_ptr<runtime::Task>> tasks = std::exchange(update_, {});
  acl_->check(acl_->call().aclmdlRICaptureTaskUpdateEnd(native()), "aclmdlRICaptureTaskUpdateEnd");
  const std::shared_ptr<Recording> recording = group == nullptr ? nullptr : group->recording();
  if (recording == nullptr || tasks.size() != group->size())
    return;
  const std::lock_guard lock(recording->mutex);
  auto& mark = recording->updates[native()];
  if (mark == nullptr)
    mark = std::make_unique<OwnedEvent>(acl_, runtime::EventKind::kPlain);
  record_mark(*acl_, *mark, native());
  for (std::size_t i = 0; i < tasks.size(); ++i)
    // The old task stays until this stream, which makes the update, has passed it.
    queued_.push_back(std::exchange(recording->tasks[group->begin() + i], std::move(tasks[i])));
}

} // namespace torchair::cann
