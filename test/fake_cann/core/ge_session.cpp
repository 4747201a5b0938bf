// ge::Session and ge::CompiledGraphSummary.
#include <new>

#include "ge.h"

namespace fake {
namespace {

// One kind of memory of a graph: set after compilation, before the first run, once unless it may be
// refreshed.
Status set_memory(const char* function, Session* session, std::uint32_t id, const void* memory,
                  std::size_t bytes, std::size_t needed, const void* LoadedGraph::* place,
                  bool may_repeat) {
  const Lock lock = locked();
  if (const Status injected = ge_enter(function))
    return injected;
  const std::string name = function;
  LoadedGraph* graph = find_graph(session->id, id);
  if (graph == nullptr || !graph->compiled)
    return ge_breach(name + " before CompileGraph");
  if (!graph->model->is_static())
    return ge_breach(name + " for a graph that is not static");
  if (!is_device_memory(memory, bytes) || bytes < needed)
    return ge_breach(name + " with memory that is not on the device, or too small");
  const bool again = may_repeat && graph->refreshable();
  if (graph->*place != nullptr && !again)
    return ge_breach(name + " a second time");
  if (graph->ran && !again)
    return ge_breach(name + " after the first run");
  graph->*place = memory;
  return 0;
}

} // namespace

Status cxx_initialize(const Options& options)
    FAKE_SYMBOL("_ZN2ge12GEInitializeERKSt3mapINS_12AscendStringES1_St4lessIS1_ESaISt4pairIKS1_S1_"
                "EEE");
Status cxx_initialize(const Options& options) { return initialize(plain(options)); }

Status cxx_finalize() FAKE_SYMBOL("_ZN2ge10GEFinalizeEv");
Status cxx_finalize() { return finalize(); }

AscendString error_text() FAKE_SYMBOL("_ZN2ge15GEGetErrorMsgV2Ev");
AscendString error_text() {
  return {std::make_shared<std::string>(std::exchange(ge_error_text(), {}))};
}

AscendString warning_text() FAKE_SYMBOL("_ZN2ge17GEGetWarningMsgV2Ev");
AscendString warning_text() { return {std::make_shared<std::string>()}; }

void session_create(Session* self, const Options& options)
    FAKE_SYMBOL("_ZN2ge7SessionC1ERKSt3mapINS_12AscendStringES2_St4lessIS2_ESaISt4pairIKS2_S2_"
                "EEE");
void session_create(Session* self, const Options& options) {
  self->id = create_session(plain(options));
}

void session_destroy(Session* self) FAKE_SYMBOL("_ZN2ge7SessionD1Ev");
void session_destroy(Session* self) { destroy_session(self->id); }

Status session_add_graph(Session* self, std::uint32_t id, const Graph& graph,
                         const Options& options)
    FAKE_SYMBOL("_ZN2ge7Session8AddGraphEjRKNS_5GraphERKSt3mapINS_12AscendStringES5_St4lessIS5_"
                "ESaISt4pairIKS5_S5_EEE");
Status session_add_graph(Session* self, std::uint32_t id, const Graph& graph,
                         const Options& options) {
  return add_graph(self->id, id, graph, plain(options));
}

Status session_remove_graph(Session* self, std::uint32_t id)
    FAKE_SYMBOL("_ZN2ge7Session11RemoveGraphEj");
Status session_remove_graph(Session* self, std::uint32_t id) { return remove_graph(self->id, id); }

Status session_compile(Session* self, std::uint32_t id)
    FAKE_SYMBOL("_ZN2ge7Session12CompileGraphEj");
Status session_compile(Session* self, std::uint32_t id) { return compile_graph(self->id, id); }

std::shared_ptr<Summary> session_summary(Session* self, std::uint32_t id)
    FAKE_SYMBOL("_ZN2ge7Session23GetCompiledGraphSummaryEj");
std::shared_ptr<Summary> session_summary(Session* self, std::uint32_t id) {
  const Lock lock = locked();
  if (ge_enter("Session.GetCompiledGraphSummary") != 0)
    return nullptr;
  const LoadedGraph* graph = find_graph(self->id, id);
  if (graph == nullptr || !graph->compiled) {
    ge_breach("GetCompiledGraphSummary before CompileGraph");
    return nullptr;
  }
  return std::make_shared<Summary>(Summary{graph->model, graph->refreshable()});
}

Status session_set_const(Session* self, std::uint32_t id, const void* memory, std::size_t bytes)
    FAKE_SYMBOL("_ZN2ge7Session23SetGraphConstMemoryBaseEjPKvm");
Status session_set_const(Session* self, std::uint32_t id, const void* memory, std::size_t bytes) {
  return set_memory("Session.SetGraphConstMemoryBase", self, id, memory, bytes, kConstBytes,
                    &LoadedGraph::const_memory, false);
}

Status session_set_feature(Session* self, std::uint32_t id, const void* memory, std::size_t bytes)
    FAKE_SYMBOL("_ZN2ge7Session28UpdateGraphFeatureMemoryBaseEjPKvm");
Status session_set_feature(Session* self, std::uint32_t id, const void* memory, std::size_t bytes) {
  return set_memory("Session.UpdateGraphFeatureMemoryBase", self, id, memory, bytes, kFeatureBytes,
                    &LoadedGraph::feature_memory, true);
}

Status session_set_fixed(Session* self, std::uint32_t id, const void* memory, std::size_t bytes)
    FAKE_SYMBOL("_ZN2ge7Session30SetGraphFixedFeatureMemoryBaseEjPKvm");
Status session_set_fixed(Session* self, std::uint32_t id, const void* memory, std::size_t bytes) {
  return set_memory("Session.SetGraphFixedFeatureMemoryBase", self, id, memory, bytes, kFixedBytes,
                    &LoadedGraph::fixed_memory, false);
}

Status session_register(const Session* self, const void* stream,
                        std::shared_ptr<Allocator> allocator)
    FAKE_SYMBOL("_ZNK2ge7Session25RegisterExternalAllocatorEPKvSt10shared_ptrINS_9AllocatorEE");
Status session_register(const Session* self, const void* stream,
                        std::shared_ptr<Allocator> allocator) {
  return register_allocator(self->id, stream, std::move(allocator));
}

Status session_unregister(const Session* self, const void* stream)
    FAKE_SYMBOL("_ZNK2ge7Session27UnregisterExternalAllocatorEPKv");
Status session_unregister(const Session* self, const void* stream) {
  return unregister_allocator(self->id, stream);
}

Status session_run(Session* self, std::uint32_t id, void* stream, const std::vector<Tensor>& inputs,
                   std::vector<Tensor>& outputs)
    FAKE_SYMBOL("_ZN2ge7Session23RunGraphWithStreamAsyncEjPvRKSt6vectorINS_6TensorESaIS3_EERS5_");
Status session_run(Session* self, std::uint32_t id, void* stream, const std::vector<Tensor>& inputs,
                   std::vector<Tensor>& outputs) {
  return run_graph(self->id, id, stream, inputs, outputs);
}

Status c_load(Session& self, std::uint32_t id, const Options& options, void* stream)
    FAKE_SYMBOL("GeSessionLoadGraph");
Status c_load(Session& self, std::uint32_t id, const Options& options, void* stream) {
  return load_graph(self.id, id, plain(options), stream);
}

Status c_execute(Session& self, std::uint32_t id, void* stream,
                 const std::vector<ExecutorTensor>& inputs, std::vector<ExecutorTensor>& outputs)
    FAKE_SYMBOL("GeSessionExecuteGraphWithStreamAsync");
Status c_execute(Session& self, std::uint32_t id, void* stream,
                 const std::vector<ExecutorTensor>& inputs, std::vector<ExecutorTensor>& outputs) {
  return execute_graph(self.id, id, stream, inputs, outputs);
}

Status c_json(Session& self, std::uint32_t id, std::uint32_t flags, AscendString& text)
    FAKE_SYMBOL("GeSessionGraphDebugJSONPrint");
Status c_json(Session& self, std::uint32_t id, std::uint32_t flags, AscendString& text) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("GeSessionGraphDebugJSONPrint"))
    return injected;
  const LoadedGraph* graph = find_graph(self.id, id);
  if (graph == nullptr || !graph->loaded || flags > 1)
    return ge_breach("GeSessionGraphDebugJSONPrint of a graph that is not loaded");
  text.text = std::make_shared<std::string>("[{\"name\": \"" + graph->model->name + "\"}]");
  return 0;
}

// ---------------------------------------------------------------- summary

bool summary_is_static(const Summary* self) FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary8IsStaticEv");
bool summary_is_static(const Summary* self) { return self->model->is_static(); }

Status summary_refreshable(const Summary* self, bool& value)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary31GetFeatureMemoryBaseRefreshableERb");
Status summary_refreshable(const Summary* self, bool& value) {
  value = self->refreshable;
  return 0;
}

Status summary_const(const Summary* self, std::size_t& bytes)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary18GetConstMemorySizeERm");
Status summary_const(const Summary* self, std::size_t& bytes) {
  bytes = kConstBytes;
  return self->model->is_static() ? 0 : ge_breach("GetConstMemorySize of a dynamic graph");
}

Status summary_feature(const Summary* self, std::size_t& bytes)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary20GetFeatureMemorySizeERm");
Status summary_feature(const Summary* self, std::size_t& bytes) {
  bytes = kFeatureBytes;
  return self->model->is_static() ? 0 : ge_breach("GetFeatureMemorySize of a dynamic graph");
}

Status summary_fixed(const Summary* self, std::size_t& bytes)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary25GetFixedFeatureMemorySizeERm");
Status summary_fixed(const Summary* self, std::size_t& bytes) {
  bytes = self->model->is_static() ? kFixedBytes : 0;
  return 0;
}

Status summary_shapes(const Summary* self, std::vector<Shape>& shapes)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary15GetOutputShapesERSt6vectorINS_5ShapeESaIS2_EE");
Status summary_shapes(const Summary* self, std::vector<Shape>& shapes) {
  if (!self->model->is_static())
    return ge_breach("GetOutputShapes of a dynamic graph");
  for (const FakeTensor& tensor : self->model->outputs)
    shapes.push_back({std::make_shared<Dims>(Dims{{tensor.dims, tensor.dims + tensor.rank}})});
  return 0;
}

Status summary_types(const Summary* self, std::vector<std::int32_t>& types)
    FAKE_SYMBOL("_ZNK2ge20CompiledGraphSummary15GetOutputDtypesERSt6vectorINS_8DataTypeESaIS2_EE");
Status summary_types(const Summary* self, std::vector<std::int32_t>& types) {
  for (const FakeTensor& tensor : self->model->outputs)
    types.push_back(tensor.type);
  return 0;
}

} // namespace fake
