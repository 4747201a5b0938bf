// Captured graphs: aclmdlRICapture* and what belongs to it.
#pragma once

#include <thread>

#include "state.h"

namespace fake {

enum class Mode : std::uint32_t { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

// How far each stream of a capture had come: the number of its latest task.
using Clock = std::map<const Stream*, std::uint64_t>;

struct Event {
  bool external = false;
  Capture* capture = nullptr; // it was recorded in this capture, which is on
  Clock clock;                // then
  Stream* stream = nullptr;   // of the latest record outside of captures
  std::uint64_t number = 0;   // of that record on its stream
  bool signalled = false;     // external: recorded and not reset
};

struct CapturedModel;

struct Group {
  CapturedModel* model = nullptr;
  std::vector<std::size_t> tasks; // places in the model
  Stream* updating = nullptr;
};

struct CapturedModel {
  std::uint32_t id = 0;
  bool capturing = true;
  std::vector<Task> tasks;
  std::set<const Stream*> streams;
  std::vector<std::unique_ptr<Group>> groups;
};

struct Capture {
  Stream* origin = nullptr;
  Mode mode = Mode::kGlobal;
  std::thread::id thread;
  CapturedModel* model = nullptr;
  std::map<Stream*, Clock> streams;
  std::uint64_t tasks = 0;
  std::string invalid; // the rule that was broken
  Stream* grouping = nullptr;
  std::vector<std::size_t> group;
};

// Adds a task to the capture of a capturing stream.
int add_to_capture(Stream& stream, Task task);
bool is_captured_stream(const Stream* stream);
// Breaks a capture; it ends with kCaptureInvalidated.
int invalidate(Capture& capture, int code, const std::string& text);

} // namespace fake
