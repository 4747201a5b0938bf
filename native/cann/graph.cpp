#include "cann/graph.h"

namespace torchair::cann {
namespace {

using runtime::Code;
using runtime::Error;

constexpr std::uint32_t kSync = 1, kExternal = 0x20; // event flags
constexpr std::int32_t kRecorded = 1;                // aclrtEventRecordedStatus
constexpr std::uint32_t kVerbose = 1;

std::uint64_t model_id(const Acl& acl, Handle model) {
  std::uint32_t id = 0;
  if (acl.call().aclmdlRIGetId == nullptr)
    return reinterpret_cast<std::uintptr_t>(model);
  acl.check(acl.call().aclmdlRIGetId(model, &id), "aclmdlRIGetId");
  return id;
}

} // namespace

OwnedStream::~OwnedStream() {
  if (handle_ == nullptr || is_borrowed_ || acl_->closed())
    return;
  acl_->report(acl_->call().aclrtSynchronizeStreamWithTimeout(handle_, -1),
               "aclrtSynchronizeStreamWithTimeout");
  acl_->report(acl_->call().aclrtDestroyStream(handle_), "aclrtDestroyStream");
}

// Events of the first kind can be recorded again without a reset, those of the second kind are
// signalled from outside of a graph.
OwnedEvent::OwnedEvent(std::shared_ptr<const Acl> acl, runtime::EventKind kind)
    : acl_(std::move(acl)) {
  if (kind == runtime::EventKind::kPlain)
    acl_->check(acl_->call().aclrtCreateEventExWithFlag(&handle_, kSync),
                "aclrtCreateEventExWithFlag");
  else
    acl_->check(acl_->call().aclrtCreateEventWithFlag(&handle_, kExternal),
                "aclrtCreateEventWithFlag");
}

OwnedEvent::~OwnedEvent() {
  if (!acl_->closed())
    acl_->report(acl_->call().aclrtDestroyEvent(handle_), "aclrtDestroyEvent");
}

void record_mark(const Acl& acl, const OwnedEvent& event, Handle stream) {
  const AclStatus status = acl.call().aclrtRecordEvent(event.get(), stream);
  if (status != 0)
    acl.report(acl.call().aclrtSynchronizeStreamWithTimeout(stream, -1),
               "aclrtSynchronizeStreamWithTimeout");
  acl.check(status, "aclrtRecordEvent");
}

CapturedGraph::CapturedGraph(std::shared_ptr<const Acl> acl, Handle model,
                             std::shared_ptr<Recording> recording)
    : acl_(std::move(acl)), model_(model), id_(0), recording_(std::move(recording)) {
  try {
    id_ = model_id(*acl_, model);
  } catch (const Error&) {
    acl_->report(acl_->call().aclmdlRIDestroy(model), "aclmdlRIDestroy");
    throw;
  }
}

CapturedGraph::~CapturedGraph() {
  const std::lock_guard lock(mutex_);
  if (model_ == nullptr || acl_->closed())
    return;
  for (const OwnedEvent* event : marks())
    acl_->report(acl_->call().aclrtSynchronizeEvent(event->get()), "aclrtSynchronizeEvent");
  acl_->report(acl_->call().aclmdlRIDestroy(model_), "aclmdlRIDestroy");
}

std::size_t CapturedGraph::task_count() const {
  const std::lock_guard lock(mutex_);
  return recording_ == nullptr ? 0 : recording_->tasks.size();
}

// Behind everything that was queued for this graph: its replays and its updates.
std::vector<const OwnedEvent*> CapturedGraph::marks() const {
  std::vector<const OwnedEvent*> found;
  for (const auto& [stream, event] : replays_)
    found.push_back(event.get());
  if (recording_ != nullptr) {
    const std::lock_guard lock(recording_->mutex);
    for (const auto& [stream, event] : recording_->updates)
      found.push_back(event.get());
  }
  return found;
}

void CapturedGraph::check_alive() const {
  if (model_ == nullptr || acl_->closed())
    throw Error(Code::kInvalidHandle, "captured graph " + std::to_string(id_));
}

void CapturedGraph::replay(runtime::Stream& stream) {
  const std::lock_guard lock(mutex_);
  check_alive();
  acl_->enter_thread();
  const Handle native = stream.native();
  auto& event = replays_[native];
  if (event == nullptr)
    event = std::make_unique<OwnedEvent>(acl_, runtime::EventKind::kPlain);
  acl_->check(acl_->call().aclmdlRIExecuteAsync(model_, native), "aclmdlRIExecuteAsync");
  record_mark(*acl_, *event, native);
}

bool CapturedGraph::is_running() const {
  for (const OwnedEvent* event : marks()) {
    std::int32_t status = kRecorded;
    acl_->check(acl_->call().aclrtQueryEventStatus(event->get(), &status), "aclrtQueryEventStatus");
    if (status != kRecorded)
      return true;
  }
  return false;
}

void CapturedGraph::destroy() {
  const std::lock_guard lock(mutex_);
  check_alive();
  acl_->enter_thread();
  if (is_running())
    throw Error(Code::kModelRunning, "destroying captured graph " + std::to_string(id_));
  acl_->check(acl_->call().aclmdlRIDestroy(model_), "aclmdlRIDestroy");
  model_ = nullptr;
  replays_.clear();
  recording_.reset();
}

void CapturedGraph::write_json(const std::string& path) {
  const std::lock_guard lock(mutex_);
  check_alive();
  if (acl_->call().aclmdlRIDebugJsonPrint == nullptr)
    throw Error(Code::kFeatureNotSupport, "this CANN cannot write a captured graph");
  acl_->enter_thread();
  acl_->check(acl_->call().aclmdlRIDebugJsonPrint(model_, path.c_str(), kVerbose),
              "aclmdlRIDebugJsonPrint");
}

} // namespace torchair::cann
