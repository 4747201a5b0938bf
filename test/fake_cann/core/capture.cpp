#include "capture.h"

namespace fake {

void forget_capture(const Capture* capture);
std::size_t count_events();
void reset_events();

namespace {

std::set<CapturedModel*> models;
std::set<Capture*> captures;
std::uint32_t next_id = 1;
thread_local Mode thread_mode = Mode::kGlobal;

CapturedModel* find_model(void* handle) {
  auto* model = static_cast<CapturedModel*>(handle);
  return models.contains(model) ? model : nullptr;
}

Group* find_group(void* handle) {
  for (CapturedModel* model : models)
    for (const auto& group : model->groups)
      if (group.get() == handle)
        return group.get();
  return nullptr;
}

bool is_queued(const CapturedModel* model) {
  for (const Stream* stream : state().device.streams)
    for (const Task& task : stream->queue)
      if (task.owner == model)
        return true;
  return false;
}

std::string unjoined(const Capture& capture) {
  const Clock& seen = capture.streams.at(capture.origin);
  for (const auto& [stream, clock] : capture.streams) {
    const auto joined = seen.find(stream);
    const std::uint64_t reached = joined == seen.end() ? 0 : joined->second;
    if (stream != capture.origin && reached < stream->captured_at)
      return "stream " + std::to_string(stream->id) + " does not lead back to the origin";
  }
  return {};
}

// Ends a capture in any case; the model is kept only when nothing is wrong.
int finish(Capture* capture, int code, std::string text, void** handle) {
  for (const auto& [stream, clock] : capture->streams)
    stream->capture = nullptr;
  forget_capture(capture);
  captures.erase(capture);
  CapturedModel* model = capture->model;
  delete capture;
  if (code == kOk) {
    model->capturing = false;
    *handle = model;
    return kOk;
  }
  models.erase(model);
  delete model;
  *handle = nullptr;
  return fail(code, text);
}

int run_tasks(const std::vector<Task>& tasks) {
  for (const Task& task : tasks)
    if (const int code = task.run())
      return code;
  return kOk;
}

} // namespace

int invalidate(Capture& capture, int code, const std::string& text) {
  if (capture.invalid.empty())
    capture.invalid = text;
  return fail(code, text);
}

int add_to_capture(Stream& stream, Task task) {
  Capture& capture = *stream.capture;
  if (!capture.invalid.empty())
    return fail(kCaptureInvalidated, "the capture is invalid: " + capture.invalid);
  if (capture.grouping != nullptr && capture.grouping != &stream)
    return invalidate(capture, kTaskGroupInterrupted, "another stream got a task in a task group");
  stream.captured_at = ++capture.tasks;
  capture.streams[&stream][&stream] = stream.captured_at;
  if (capture.grouping == &stream)
    capture.group.push_back(capture.model->tasks.size());
  capture.model->tasks.push_back(std::move(task));
  return kOk;
}

bool is_captured_stream(const Stream* stream) {
  for (const CapturedModel* model : models)
    if (model->streams.contains(stream))
      return true;
  return false;
}

int check_wait_allowed(const char* function, Stream* stream) {
  for (Capture* capture : captures)
    if (stream == nullptr || stream->capture == capture)
      return invalidate(*capture, kCaptureModeNotSupport,
                        std::string(function) + " while a capture is on");
  return kOk;
}

int check_unsafe_allowed(const char* function) {
  for (Capture* capture : captures) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool allowed =
        capture->mode == Mode::kRelaxed || thread_mode == Mode::kRelaxed ||
        (!own && (capture->mode == Mode::kThreadLocal || thread_mode == Mode::kThreadLocal));
    if (!allowed)
      return invalidate(*capture, kCaptureModeNotSupport,
                        std::string(function) + " while the mode of a capture forbids it");
  }
  return kOk;
}

// ---------------------------------------------------------------- capture

extern "C" int fake_aclmdlRICaptureBegin(void* handle, std::uint32_t mode) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureBegin");
  Stream* stream = find_stream(handle);
  if (handle == nullptr)
    return fail(kCaptureImplicit, "the default stream cannot be captured");
  if (stream == nullptr || mode > 2)
    return breach(kParamInvalid, "aclmdlRICaptureBegin with wrong arguments");
  if (stream->capture != nullptr)
    return fail(kStreamCaptured, "the stream is capturing already");
  auto* capture = new Capture;
  capture->origin = stream;
  capture->mode = static_cast<Mode>(mode);
  capture->thread = std::this_thread::get_id();
  capture->model = new CapturedModel;
  capture->model->id = next_id++;
  capture->model->streams.insert(stream);
  capture->streams[stream] = {};
  stream->captured_at = 0;
  models.insert(capture->model);
  captures.insert(capture);
  stream->capture = capture;
  return kOk;
}

extern "C" int fake_aclmdlRICaptureGetInfo(void* handle, std::uint32_t* status, void** model) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureGetInfo");
  const Stream* stream = find_stream(handle);
  if (stream == nullptr || (status == nullptr && model == nullptr))
    return breach(kParamInvalid, "aclmdlRICaptureGetInfo with wrong arguments");
  const Capture* capture = stream->capture;
  if (status != nullptr)
    *status = capture == nullptr ? 0 : (capture->invalid.empty() ? 1 : 2);
  if (model != nullptr && capture != nullptr)
    *model = capture->model;
  return kOk;
}

extern "C" int fake_aclmdlRICaptureEnd(void* handle, void** model) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureEnd");
  Stream* stream = find_stream(handle);
  if (stream == nullptr || model == nullptr)
    return breach(kParamInvalid, "aclmdlRICaptureEnd with wrong arguments");
  Capture* capture = stream->capture;
  if (capture == nullptr)
    return fail(kStreamNotCaptured, "the stream is not capturing");
  if (capture->origin != stream)
    return fail(kCaptureUnmatched, "the capture began on another stream");
  if (capture->mode != Mode::kRelaxed && capture->thread != std::this_thread::get_id())
    return fail(kCaptureWrongThread, "the capture began on another thread");
  if (!capture->invalid.empty())
    return finish(capture, kCaptureInvalidated, capture->invalid, model);
  if (capture->grouping != nullptr)
    return finish(capture, kTaskGroupStatus, "a task group is open", model);
  const std::string loose = unjoined(*capture);
  return finish(capture, loose.empty() ? kOk : kStreamUnjoined, loose, model);
}

extern "C" int fake_aclmdlRICaptureThreadExchangeMode(std::uint32_t* mode) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureThreadExchangeMode");
  if (mode == nullptr || *mode > 2)
    return breach(kParamInvalid, "aclmdlRICaptureThreadExchangeMode with an unknown mode");
  *mode = static_cast<std::uint32_t>(std::exchange(thread_mode, static_cast<Mode>(*mode)));
  return kOk;
}

// ---------------------------------------------------------------- task groups

extern "C" int fake_aclmdlRICaptureTaskGrpBegin(void* handle) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureTaskGrpBegin");
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "a task group on something that is not a stream");
  if (stream->capture == nullptr)
    return fail(kStreamNotCaptured, "a task group needs a capturing stream");
  if (stream->capture->grouping != nullptr)
    return fail(kTaskGroupStatus, "a task group is open already");
  stream->capture->grouping = stream;
  return kOk;
}

extern "C" int fake_aclmdlRICaptureTaskGrpEnd(void* handle, void** group) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureTaskGrpEnd");
  Stream* stream = find_stream(handle);
  if (stream == nullptr || group == nullptr)
    return breach(kInvalidHandle, "aclmdlRICaptureTaskGrpEnd with wrong arguments");
  if (stream->capture == nullptr)
    return fail(kStreamNotCaptured, "a task group needs a capturing stream");
  Capture& capture = *stream->capture;
  if (capture.grouping != stream)
    return fail(kTaskGroupStatus, "no task group is open on this stream");
  if (!capture.invalid.empty())
    return fail(kCaptureInvalidated, capture.invalid);
  auto made = std::make_unique<Group>();
  made->model = capture.model;
  made->tasks = std::exchange(capture.group, {});
  capture.grouping = nullptr;
  *group = made.get();
  capture.model->groups.push_back(std::move(made));
  return kOk;
}

extern "C" int fake_aclmdlRICaptureTaskUpdateBegin(void* handle, void* group_handle) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureTaskUpdateBegin");
  Stream* stream = find_stream(handle);
  Group* group = find_group(group_handle);
  if (stream == nullptr || group == nullptr)
    return breach(kInvalidHandle, "an update of or on something that does not exist");
  if (stream->capture != nullptr)
    return fail(kStreamCaptured, "the update stream is capturing");
  if (stream->updating != nullptr || group->updating != nullptr)
    return fail(kTaskGroupStatus, "an update is open already");
  stream->updating = group;
  group->updating = stream;
  return kOk;
}

extern "C" int fake_aclmdlRICaptureTaskUpdateEnd(void* handle) {
  Lock lock = locked();
  FAKE_CALL("aclmdlRICaptureTaskUpdateEnd");
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "an update on something that is not a stream");
  Group* group = find_group(const_cast<void*>(std::exchange(stream->updating, nullptr)));
  if (group == nullptr)
    return fail(kTaskGroupStatus, "no update is open on this stream");
  group->updating = nullptr;
  std::vector<Task> tasks = std::exchange(stream->update_tasks, {});
  if (tasks.size() != group->tasks.size())
    return fail(kModelUpdateFailed, "the update has another number of tasks than the group");
  const auto update = [group, model = group->model, tasks = std::move(tasks)] {
    const Lock inner = locked();
    if (!models.contains(model))
      return breach(kInvalidHandle, "an update of a graph that was destroyed");
    for (std::size_t i = 0; i < tasks.size(); ++i)
      model->tasks[group->tasks[i]] = tasks[i];
    return static_cast<int>(kOk);
  };
  return submit(lock, *stream, {"aclmdlRICaptureTaskUpdateEnd", update, {}, group->model});
}

// ---------------------------------------------------------------- models

extern "C" int fake_aclmdlRIExecuteAsync(void* handle, void* stream_handle) {
  Lock lock = locked();
  FAKE_CALL("aclmdlRIExecuteAsync");
  CapturedModel* model = find_model(handle);
  Stream* stream = find_stream(stream_handle);
  if (model == nullptr || stream == nullptr)
    return breach(kInvalidHandle, "aclmdlRIExecuteAsync of or on something that does not exist");
  if (model->capturing)
    return fail(kModelCaptured, "the graph is still being captured");
  if (stream->capture != nullptr)
    return fail(kStreamCaptured, "the stream is capturing");
  const auto run = [model] {
    std::vector<Task> tasks;
    {
      const Lock inner = locked();
      tasks = model->tasks;
    }
    return run_tasks(tasks);
  };
  Task task{"aclmdlRIExecuteAsync", run, {}, model};
  for (const Task& captured : model->tasks)
    task.uses.insert(task.uses.end(), captured.uses.begin(), captured.uses.end());
  return submit(lock, *stream, std::move(task));
}

extern "C" int fake_aclmdlRIDestroy(void* handle) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRIDestroy", true);
  CapturedModel* model = find_model(handle);
  if (model == nullptr)
    return breach(kInvalidHandle, "aclmdlRIDestroy of something that is not a graph");
  if (model->capturing)
    return breach(kModelCaptured, "aclmdlRIDestroy of a graph that is being captured");
  if (is_queued(model))
    return fail(kModelRunning, "the graph is running");
  models.erase(model);
  delete model;
  return kOk;
}

extern "C" int fake_aclmdlRIGetId(void* handle, std::uint32_t* id) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRIGetId");
  const CapturedModel* model = find_model(handle);
  if (model == nullptr || id == nullptr)
    return breach(kInvalidHandle, "aclmdlRIGetId of something that is not a graph");
  *id = model->id;
  return kOk;
}

extern "C" int fake_aclmdlRIDebugJsonPrint(void* handle, const char* path, std::uint32_t flags) {
  const Lock lock = locked();
  FAKE_CALL("aclmdlRIDebugJsonPrint");
  const CapturedModel* model = find_model(handle);
  if (model == nullptr || path == nullptr || flags > 1)
    return breach(kParamInvalid, "aclmdlRIDebugJsonPrint with wrong arguments");
  FILE* file = std::fopen(path, "w");
  if (file == nullptr)
    return fail(kParamInvalid, "the file cannot be written");
  std::fputs("[", file);
  for (std::size_t i = 0; i < model->tasks.size(); ++i)
    std::fprintf(file, "%s{\"name\": \"%s\", \"ph\": \"X\", \"ts\": %zu, \"dur\": 1}",
                 i == 0 ? "" : ", ", model->tasks[i].name.c_str(), i);
  std::fputs("]\n", file);
  std::fclose(file);
  return kOk;
}

std::vector<std::string> live_capture() {
  std::vector<std::string> found;
  for (const CapturedModel* model : models)
    found.push_back("captured graph " + std::to_string(model->id));
  if (count_events() > 0)
    found.push_back(std::to_string(count_events()) + " events");
  return found;
}

void reset_capture() {
  for (Capture* capture : captures)
    delete capture;
  captures.clear();
  for (CapturedModel* model : models)
    delete model;
  models.clear();
  reset_events();
}

} // namespace fake
