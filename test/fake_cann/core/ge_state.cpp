// GE of a process: start, end, sessions, options.
#include <algorithm>

#include "ge.h"

namespace fake {
namespace {

// Keys without the prefix that ge::Session understands.
const std::set<std::string> kOtherKeys = {"op_debug_option"};

Status check_options(const std::string& scope, const PlainOptions& options) {
  Status status = 0;
  for (const auto& [key, value] : options) {
    ge_state().options.push_back(scope + ": " + key + "=" + value);
    if (key.rfind("ge.", 0) != 0 && !kOtherKeys.contains(key))
      status = ge_breach("GE does not know the option '" + key + "'");
  }
  return status;
}

} // namespace

GeState& ge_state() {
  static GeState* const made = new GeState;
  return *made;
}

Status ge_fail(const std::string& text) {
  ge_error_text() = "E19999: fake GE: " + text;
  return kGeFailed;
}

Status ge_breach(const std::string& text) {
  state().calls.breaches.push_back(text);
  return ge_fail(text);
}

Status ge_enter(const char* function, bool cleans_up) {
  const int injected = enter(function, cleans_up);
  if (injected == kOk)
    return 0;
  ge_error_text() = take_error_text();
  return static_cast<Status>(injected);
}

LoadedGraph* find_graph(std::uint64_t session, std::uint32_t id) {
  const auto found = ge_state().sessions.find(session);
  if (found == ge_state().sessions.end())
    return nullptr;
  const auto graph = found->second.graphs.find(id);
  return graph == found->second.graphs.end() ? nullptr : &graph->second;
}

bool has_allocator(const void* stream) {
  const Lock lock = locked();
  return ge_state().allocators.contains(stream);
}

bool is_initialized() {
  const Lock lock = locked();
  return ge_state().initialized;
}

Status initialize(const PlainOptions& options) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("GEInitialize"))
    return injected;
  if (ge_state().initialized)
    return ge_breach("GEInitialize a second time");
  if (!options.contains("ge.exec.deviceId"))
    return ge_breach("GEInitialize without ge.exec.deviceId");
  if (const Status wrong = check_options("process", options))
    return wrong;
  ge_state().initialized = true;
  return 0;
}

Status finalize() {
  const Lock lock = locked();
  if (const Status injected = ge_enter("GEFinalize", true))
    return injected;
  if (!ge_state().initialized)
    return ge_breach("GEFinalize without GEInitialize");
  if (!ge_state().sessions.empty())
    ge_breach("GEFinalize before the last session was destroyed");
  ge_state().initialized = false;
  return 0;
}

std::uint64_t create_session(const PlainOptions& options) {
  const Lock lock = locked();
  if (ge_enter("Session.Session") != 0)
    return 0;
  if (!ge_state().initialized) {
    ge_breach("a session before GEInitialize");
    return 0;
  }
  if (!options.contains("ge.session_device_id"))
    ge_breach("a session without ge.session_device_id");
  check_options("session", options);
  const std::uint64_t id = ge_state().next_session++;
  ge_state().sessions[id];
  return id;
}

void destroy_session(std::uint64_t session) {
  std::map<const void*, std::shared_ptr<Allocator>> last; // destroyed without the lock
  const Lock lock = locked();
  ge_enter("Session.~Session", true);
  const auto found = ge_state().sessions.find(session);
  if (found == ge_state().sessions.end()) {
    if (session != 0)
      ge_breach("a session is destroyed twice");
    return;
  }
  if (!found->second.graphs.empty())
    ge_breach("a session is destroyed with " + std::to_string(found->second.graphs.size()) +
              " graphs in it");
  if (ge_state().tensors > 0)
    ge_breach("a session is destroyed before " + std::to_string(ge_state().tensors) +
              " of the tensors that GE made");
  ge_state().sessions.erase(found);
  if (ge_state().sessions.empty())
    last = std::exchange(ge_state().allocators, {});
}

Status add_graph(std::uint64_t session, std::uint32_t id, const Graph& graph,
                 const PlainOptions& options) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("Session.AddGraph"))
    return injected;
  const auto found = ge_state().sessions.find(session);
  if (session == 0)
    return ge_fail("the session could not be created");
  if (found == ge_state().sessions.end())
    return ge_breach("AddGraph to a session that does not exist");
  if (found->second.graphs.contains(id))
    return ge_breach("AddGraph with a number that is taken");
  if (graph.model == nullptr || graph.model->bytes.empty())
    return ge_breach("AddGraph of an empty graph");
  if (const Status wrong = check_options("graph " + std::to_string(id), options))
    return wrong;
  LoadedGraph& made = found->second.graphs[id];
  made.model = graph.model;
  made.options = options;
  return 0;
}

bool LoadedGraph::refreshable() const {
  const auto found = options.find("ge.featureBaseRefreshable");
  return found != options.end() && found->second == "1";
}

Status remove_graph(std::uint64_t session, std::uint32_t id) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("Session.RemoveGraph", true))
    return injected;
  const LoadedGraph* graph = find_graph(session, id);
  if (graph == nullptr)
    return ge_breach("RemoveGraph of a graph that is not there");
  for (const Stream* stream : state().device.streams)
    for (const Task& task : stream->queue)
      if (task.owner == graph->model.get())
        return ge_breach("RemoveGraph of a graph that is queued on a stream");
  ge_state().sessions[session].graphs.erase(id);
  return 0;
}

Status compile_graph(std::uint64_t session, std::uint32_t id) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("Session.CompileGraph"))
    return injected;
  if (const int wrong = enter_device("aclrtGetDevice of CompileGraph"))
    return ge_breach("CompileGraph on a thread without a device (" + std::to_string(wrong) + ")");
  LoadedGraph* graph = find_graph(session, id);
  if (graph == nullptr)
    return ge_breach("CompileGraph of a graph that is not there");
  if (graph->compiled)
    return ge_breach("CompileGraph a second time");
  graph->compiled = true;
  return 0;
}

Status register_allocator(std::uint64_t session, const void* stream,
                          std::shared_ptr<Allocator> allocator) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("Session.RegisterExternalAllocator"))
    return injected;
  if (!ge_state().sessions.contains(session))
    return ge_breach("RegisterExternalAllocator with a session that does not exist");
  if (find_stream(const_cast<void*>(stream)) == nullptr || allocator == nullptr)
    return ge_breach("RegisterExternalAllocator of null or for something that is not a stream");
  if (ge_state().allocators.contains(stream))
    return ge_breach("RegisterExternalAllocator a second time for a stream");
  ge_state().allocators[stream] = std::move(allocator);
  return 0;
}

Status unregister_allocator(std::uint64_t session, const void* stream) {
  std::shared_ptr<Allocator> last; // destroyed without the lock: it may call ACL or Python
  const Lock lock = locked();
  if (const Status injected = ge_enter("Session.UnregisterExternalAllocator", true))
    return injected;
  const auto found = ge_state().allocators.find(stream);
  if (!ge_state().sessions.contains(session) || found == ge_state().allocators.end())
    return ge_breach("UnregisterExternalAllocator of one that is not registered");
  last = std::move(found->second);
  ge_state().allocators.erase(found);
  return 0;
}

std::vector<std::string> live_ge() {
  std::vector<std::string> found;
  for (const auto& [id, session] : ge_state().sessions)
    found.push_back("GE session " + std::to_string(id) + " with " +
                    std::to_string(session.graphs.size()) + " graphs");
  if (!ge_state().allocators.empty())
    found.push_back(std::to_string(ge_state().allocators.size()) +
                    " allocators registered with GE");
  if (ge_state().tensors > 0)
    found.push_back(std::to_string(ge_state().tensors) + " tensors that GE made");
  return found;
}

bool is_ge_started() { return ge_state().initialized; }

void reset_ge() { ge_state() = GeState{}; }

extern "C" const char* fake_cann_options() {
  static thread_local std::string text;
  const Lock lock = locked();
  text.clear();
  for (const std::string& option : ge_state().options)
    text += option + "\n";
  return text.c_str();
}

} // namespace fake
