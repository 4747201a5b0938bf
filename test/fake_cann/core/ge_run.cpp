// Runs of GE graphs: argument checks, outputs, and the tasks that compute them.
#include <cstring>
#include <set>
#include <sstream>

#include "ge.h"

namespace fake {
namespace {

constexpr std::uintptr_t kTensorAlignment = 32;
constexpr std::int32_t kFormatNd = 2;

thread_local std::vector<std::unique_ptr<char[]>>* scratch = nullptr;

std::string sizes_text(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (std::int64_t size : sizes)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

bool may_be_on_host(const LoadedGraph& graph, std::size_t index, const TensorBody& tensor) {
  if (!graph.model->is_static() && tensor.sizes.size() <= 1)
    return true;
  const PlainOptions& options = graph.loaded ? graph.load_options : graph.options;
  const auto found = options.find("ge.exec.hostInputIndexes");
  std::istringstream indexes(found == options.end() ? "" : found->second);
  for (std::string text; std::getline(indexes, text, ';');)
    if (text == std::to_string(index))
      return true;
  return false;
}

Status check_memory(const std::string& what, const TensorBody& tensor, bool may_host) {
  if (tensor.bytes == 0)
    return 0;
  if (tensor.placement == 0 && may_host)
    return is_device_memory(tensor.data, 1) ? ge_breach(what + " is on the device, marked as host")
                                            : 0;
  if (tensor.placement == 0)
    return ge_breach(what + " lies on the host");
  if (!is_device_memory(tensor.data, tensor.bytes))
    return ge_breach(what + " is not live device memory of its size");
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % kTensorAlignment != 0)
    return ge_breach(what + " is not 32-byte aligned");
  return 0;
}

Status check_tensor(const std::string& what, const TensorBody& tensor, const FakeTensor& expected) {
  if (tensor.type != expected.type)
    return ge_breach(what + " has type " + std::to_string(tensor.type) + ", the model says " +
                     std::to_string(expected.type));
  if (tensor.format != kFormatNd)
    return ge_breach(what + " has no format");
  bool fits = static_cast<std::int32_t>(tensor.sizes.size()) == expected.rank;
  std::int64_t elements = 1;
  for (std::int32_t i = 0; fits && i < expected.rank; ++i) {
    fits = expected.dims[i] < 0 || expected.dims[i] == tensor.sizes[i];
    elements *= tensor.sizes[i];
  }
  if (!fits)
    return ge_breach(what + " has shape " + sizes_text(tensor.sizes) + ", the model another one");
  if (tensor.sizes != tensor.origin_sizes)
    return ge_breach(what + " has an origin shape of its own");
  if (tensor.bytes != static_cast<std::size_t>(elements * element_bytes(tensor.type)))
    return ge_breach(what + " has a size in bytes that does not fit its shape");
  return 0;
}

Status check_arguments(const LoadedGraph& graph, const std::vector<Tensor>& inputs,
                       const std::vector<Tensor>& outputs) {
  const ModelBytes& model = *graph.model;
  if (inputs.size() != model.inputs.size())
    return ge_breach("a run with " + std::to_string(inputs.size()) + " inputs instead of " +
                     std::to_string(model.inputs.size()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string what = "input " + std::to_string(i);
    const TensorBody& body = *inputs[i].body;
    if (const Status wrong = check_tensor(what, body, model.inputs[i]))
      return wrong;
    if (const Status wrong = check_memory(what, body, may_be_on_host(graph, i, body)))
      return wrong;
  }
  if (!outputs.empty() && outputs.size() != model.outputs.size())
    return ge_breach("a run with a wrong number of outputs");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string what = "output " + std::to_string(i);
    if (const Status wrong = check_tensor(what, *outputs[i].body, model.outputs[i]))
      return wrong;
    if (const Status wrong = check_memory(what, *outputs[i].body, false))
      return wrong;
  }
  return 0;
}

// "1,0|2,3": output 0 lies in the memory of input 1, output 3 in that of input 2. GE's own reader
// of the option takes the input first.
Status check_aliases(const LoadedGraph& graph, const std::vector<Tensor>& inputs,
                     const std::vector<Tensor>& outputs) {
  const auto found = graph.options.find("ge.exec.outputReuseInputMemIndexes");
  if (found == graph.options.end())
    return 0;
  if (outputs.empty())
    return ge_breach("outputs that reuse inputs must be given by the caller");
  std::istringstream pairs(found->second);
  for (std::string pair; std::getline(pairs, pair, '|');) {
    std::size_t output = 0, input = 0;
    if (std::sscanf(pair.c_str(), "%zu,%zu", &input, &output) != 2 || output >= outputs.size() ||
        input >= inputs.size())
      return ge_breach("ge.exec.outputReuseInputMemIndexes names tensors that are not there");
    if (outputs[output].body->data != inputs[input].body->data)
      return ge_breach("output " + pair + " does not lie in its input's memory");
  }
  return 0;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);)
    parts.push_back(part);
  return parts;
}

// "3,8;4,16": the dynamic sizes that a graph was compiled for. The fake does not know the names by
// which GE orders them, so it compares without order.
Status check_gears(const LoadedGraph& graph, const std::vector<Tensor>& inputs) {
  const auto found = graph.options.find("ge.dynamicDims");
  if (found == graph.options.end())
    return 0;
  if (!graph.options.contains("ge.inputShape") || !graph.options.contains("ge.dynamicNodeType") ||
      split(graph.options.at("ge.inputShape"), ';').size() != inputs.size())
    return ge_breach("ge.dynamicDims without ge.inputShape of every input, or dynamicNodeType");
  std::multiset<std::string> given;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    for (std::int32_t d = 0; d < graph.model->inputs[i].rank; ++d)
      if (graph.model->inputs[i].dims[d] < 0)
        given.insert(std::to_string(inputs[i].body->sizes[d]));
  for (const std::string& gear : split(found->second, ';')) {
    const std::vector<std::string> sizes = split(gear, ',');
    if (std::multiset<std::string>(sizes.begin(), sizes.end()) == given)
      return 0;
  }
  return ge_breach("a run with sizes that are none of the gears " + found->second);
}

Status check_graph_memory(const LoadedGraph& graph, const void* stream) {
  if (ge_state().allocators.contains(stream))
    return graph.const_memory != nullptr && graph.feature_memory == nullptr
               ? ge_breach("a run with const memory and without feature memory")
               : 0;
  return graph.const_memory == nullptr || graph.feature_memory == nullptr
             ? ge_breach("a run without memory: no allocator, no memory base")
             : 0;
}

FakeTensor view_of(const TensorBody& body) {
  FakeTensor view{};
  view.data = body.data;
  view.bytes = body.bytes;
  view.type = body.type;
  view.rank = static_cast<std::int32_t>(body.sizes.size());
  for (std::size_t i = 0; i < body.sizes.size(); ++i)
    view.dims[i] = body.sizes[i];
  return view;
}

struct Results {
  std::vector<std::unique_ptr<char[]>> memory;
  std::vector<FakeTensor> tensors;
};

int compute(const ModelBytes& model, const std::vector<FakeTensor>& inputs, Results& results) {
  FakeExecute execute = nullptr;
  {
    const Lock lock = locked();
    execute = state().model.execute;
  }
  results.tensors.assign(model.outputs.size(), FakeTensor{});
  scratch = &results.memory;
  const int code = execute(model.bytes.data(), model.bytes.size(), inputs.data(),
                           static_cast<std::int32_t>(inputs.size()), results.tensors.data(),
                           static_cast<std::int32_t>(results.tensors.size()));
  scratch = nullptr;
  return code;
}

std::vector<FakeTensor> views_of(const std::vector<Tensor>& tensors) {
  std::vector<FakeTensor> views;
  for (const Tensor& tensor : tensors)
    views.push_back(view_of(*tensor.body));
  return views;
}

int write_results(const Results& results, const std::vector<FakeTensor>& targets) {
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (results.tensors[i].bytes != targets[i].bytes) {
      const Lock lock = locked();
      return breach(kModelExecute, "output " + std::to_string(i) + " is computed with " +
                                       std::to_string(results.tensors[i].bytes) + " bytes, given " +
                                       std::to_string(targets[i].bytes));
    }
    std::memcpy(targets[i].data, results.tensors[i].data, targets[i].bytes);
  }
  return kOk;
}

Task run_task(const LoadedGraph& graph, const std::vector<FakeTensor>& inputs,
              const std::vector<FakeTensor>& outputs) {
  const auto run = [model = graph.model, inputs, outputs] {
    Results results;
    if (const int code = compute(*model, inputs, results))
      return code;
    return write_results(results, outputs);
  };
  Task task{"RunGraphWithStreamAsync", run, {}, graph.model.get()};
  for (const auto* views : {&inputs, &outputs})
    for (const FakeTensor& view : *views)
      task.uses.emplace_back(view.data, view.bytes);
  for (const void* memory : {graph.const_memory, graph.feature_memory, graph.fixed_memory})
    if (memory != nullptr)
      task.uses.emplace_back(memory, 1);
  return task;
}

// A tensor in memory of the caller's allocator; the lock is not held.
Tensor allocate_output(const std::shared_ptr<Allocator>& allocator, const FakeTensor& result) {
  MemBlock* block = allocator->Malloc(result.bytes);
  if (block == nullptr)
    return {};
  Tensor tensor{std::make_shared<TensorBody>()};
  TensorBody& body = *tensor.body;
  body.type = result.type;
  body.format = kFormatNd;
  body.placement = 1;
  body.sizes.assign(result.dims, result.dims + result.rank);
  body.origin_sizes = body.sizes;
  body.data = static_cast<std::uint8_t*>(block->address());
  body.bytes = result.bytes;
  body.deleter = [block](std::uint8_t*) {
    {
      const Lock lock = locked();
      --ge_state().tensors;
    }
    block->release();
  };
  const Lock lock = locked();
  ++ge_state().tensors;
  return tensor;
}

// Without given outputs the shapes must be known now, so everything queued is done first.
Status run_with_own_outputs(Lock& lock, LoadedGraph& graph, Stream& stream,
                            const std::vector<FakeTensor>& inputs, std::vector<Tensor>& outputs) {
  const std::shared_ptr<Allocator> allocator = ge_state().allocators.at(&stream);
  const std::shared_ptr<ModelBytes> model = graph.model;
  drain_to(lock, stream, stream.queued);
  lock.unlock();
  const auto results = std::make_shared<Results>();
  const int code = compute(*model, inputs, *results);
  for (std::size_t i = 0; code == kOk && i < results->tensors.size(); ++i) {
    outputs.push_back(allocate_output(allocator, results->tensors[i]));
    if (outputs.back().body == nullptr) {
      outputs.clear();
      lock.lock();
      return ge_fail("the allocator has no memory for output " + std::to_string(i));
    }
  }
  lock.lock();
  if (code != kOk)
    return ge_fail("the graph failed with " + std::to_string(code));
  const auto targets = views_of(outputs);
  Task task{"RunGraphWithStreamAsync",
            [results, targets] { return write_results(*results, targets); },
            {},
            model.get()};
  for (const auto* views : {&inputs, &targets})
    for (const FakeTensor& view : *views)
      task.uses.emplace_back(view.data, view.bytes);
  return static_cast<Status>(submit(lock, stream, std::move(task)));
}

} // namespace

Status run_graph(std::uint64_t session, std::uint32_t id, void* handle,
                 const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
  Lock lock = locked();
  if (const Status injected = ge_enter("Session.RunGraphWithStreamAsync"))
    return injected;
  if (const int wrong = enter_device("aclrtGetDevice of RunGraph"))
    return ge_breach("a run on a thread without a device (" + std::to_string(wrong) + ")");
  LoadedGraph* graph = find_graph(session, id);
  Stream* stream = find_stream(handle);
  if (graph == nullptr || stream == nullptr)
    return ge_breach("a run of or on something that does not exist");
  if (graph->loaded)
    return ge_breach("RunGraphWithStreamAsync of a graph that was loaded");
  if (graph->ran && graph->stream != handle)
    return ge_breach("a run on another stream than before");
  for (const auto& check :
       {check_arguments(*graph, inputs, outputs), check_aliases(*graph, inputs, outputs),
        check_gears(*graph, inputs), check_graph_memory(*graph, handle)})
    if (check != 0)
      return check;
  graph->compiled = graph->ran = true;
  graph->stream = handle;
  if (outputs.empty() && !graph->model->outputs.empty())
    return run_with_own_outputs(lock, *graph, *stream, views_of(inputs), outputs);
  Task task = run_task(*graph, views_of(inputs), views_of(outputs));
  if (graph->refreshable())
    graph->feature_memory = nullptr; // the next run needs to be given some again
  return static_cast<Status>(submit(lock, *stream, std::move(task)));
}

// "0,4096,24;2,8192,8": input, address, bytes. They lie there in every run.
static Status check_frozen(const LoadedGraph& graph, const std::vector<Tensor>& inputs) {
  const auto found = graph.load_options.find("ge.exec.frozenInputIndexes");
  std::istringstream entries(found == graph.load_options.end() ? "" : found->second);
  for (std::string entry; std::getline(entries, entry, ';');) {
    std::size_t index = 0, address = 0, bytes = 0;
    if (std::sscanf(entry.c_str(), "%zu,%zu,%zu", &index, &address, &bytes) != 3 ||
        index >= inputs.size())
      return ge_breach("ge.exec.frozenInputIndexes is malformed: " + entry);
    const TensorBody& body = *inputs[index].body;
    if (reinterpret_cast<std::size_t>(body.data) != address || body.bytes != bytes)
      return ge_breach("frozen input " + std::to_string(index) + " is not where it was");
  }
  return 0;
}

static std::vector<Tensor> plain_tensors(const std::vector<ExecutorTensor>& given) {
  std::vector<Tensor> tensors;
  for (const ExecutorTensor& tensor : given) {
    auto body = std::make_shared<TensorBody>();
    body->type = tensor.type;
    body->format = tensor.storage_format == tensor.origin_format ? tensor.storage_format : -1;
    body->placement = tensor.placement == 0 ? 1 : 0;
    body->sizes.assign(tensor.storage.dims, tensor.storage.dims + tensor.storage.rank);
    body->origin_sizes.assign(tensor.origin.dims, tensor.origin.dims + tensor.origin.rank);
    body->data = static_cast<std::uint8_t*>(tensor.address);
    body->bytes = tensor.bytes;
    tensors.push_back({std::move(body)});
  }
  return tensors;
}

Status load_graph(std::uint64_t session, std::uint32_t id, const PlainOptions& options,
                  void* handle) {
  const Lock lock = locked();
  if (const Status injected = ge_enter("GeSessionLoadGraph"))
    return injected;
  LoadedGraph* graph = find_graph(session, id);
  if (graph == nullptr || find_stream(handle) == nullptr || !graph->compiled)
    return ge_breach("GeSessionLoadGraph before CompileGraph, or on something that is no stream");
  if (graph->loaded || graph->ran)
    return ge_breach("GeSessionLoadGraph a second time, or after a run");
  for (const auto& [key, value] : options) {
    if (key != "ge.exec.frozenInputIndexes" && key != "ge.exec.hostInputIndexes")
      return ge_breach("GeSessionLoadGraph does not take the option '" + key + "'");
    ge_state().options.push_back("load " + std::to_string(id) + ": " + key + "=" + value);
  }
  graph->loaded = true;
  graph->load_options = options;
  graph->stream = handle;
  return 0;
}

Status execute_graph(std::uint64_t session, std::uint32_t id, void* handle,
                     const std::vector<ExecutorTensor>& inputs,
                     std::vector<ExecutorTensor>& outputs) {
  Lock lock = locked();
  if (const Status injected = ge_enter("GeSessionExecuteGraphWithStreamAsync"))
    return injected;
  if (const int wrong = enter_device("aclrtGetDevice of RunGraph"))
    return ge_breach("a run on a thread without a device (" + std::to_string(wrong) + ")");
  LoadedGraph* graph = find_graph(session, id);
  Stream* stream = find_stream(handle);
  if (graph == nullptr || stream == nullptr || !graph->loaded || graph->stream != handle)
    return ge_breach("GeSessionExecuteGraphWithStreamAsync before GeSessionLoadGraph, or on "
                     "another stream");
  if (outputs.size() != graph->model->outputs.size())
    return ge_breach("an execution without memory for its outputs");
  const std::vector<Tensor> given = plain_tensors(inputs), results = plain_tensors(outputs);
  for (const auto& check :
       {check_arguments(*graph, given, results), check_aliases(*graph, given, results),
        check_frozen(*graph, given), check_graph_memory(*graph, handle)})
    if (check != 0)
      return check;
  graph->ran = true;
  Task task = run_task(*graph, views_of(given), views_of(results));
  if (graph->refreshable())
    graph->feature_memory = nullptr; // the next run needs to be given some again
  return static_cast<Status>(submit(lock, *stream, std::move(task)));
}

extern "C" void* fake_cann_scratch(std::uint64_t bytes) {
  if (scratch == nullptr)
    return nullptr;
  scratch->push_back(std::make_unique<char[]>(bytes == 0 ? 1 : bytes));
  return scratch->back().get();
}

} // namespace fake
