// The plain-C functions of GE's wrapper libraries.
#include "ge.h"

namespace fake {
namespace {

PlainOptions options_of(char** keys, char** values, int size) {
  PlainOptions options;
  for (int i = 0; i < size; ++i)
    options[keys[i]] = values[i];
  return options;
}

struct Callbacks {
  void* (*malloc)(void*, std::size_t);
  void (*free)(void*, void*);
  void* (*address)(void*);
  void (*destroyed)(void*);
  void* handle;
};

class CallbackAllocator;

class CallbackBlock final : public MemBlock {
public:
  CallbackBlock(std::shared_ptr<CallbackAllocator> owner, Allocator& allocator, void* block,
                void* address, std::size_t size)
      : MemBlock(allocator, address, size), owner_(std::move(owner)), block_(block) {}
  void* block() const { return block_; }

private:
  std::shared_ptr<CallbackAllocator> owner_;
  void* block_;
};

class CallbackAllocator final : public Allocator,
                                public std::enable_shared_from_this<CallbackAllocator> {
public:
  explicit CallbackAllocator(const Callbacks& callbacks) : callbacks_(callbacks) {}
  ~CallbackAllocator() override {
    if (callbacks_.destroyed != nullptr)
      callbacks_.destroyed(callbacks_.handle);
  }
  MemBlock* Malloc(std::size_t size) override {
    void* block = callbacks_.malloc(nullptr, size);
    if (block == nullptr)
      return nullptr;
    return new CallbackBlock(shared_from_this(), *this, block, callbacks_.address(block), size);
  }
  void Free(MemBlock* block) override {
    auto* made = static_cast<CallbackBlock*>(block);
    callbacks_.free(nullptr, made->block());
    delete made;
  }
  MemBlock* MallocAdvise(std::size_t size, void* /*address*/) override { return Malloc(size); }

private:
  Callbacks callbacks_;
};

} // namespace

extern "C" Status fake_GeApiWrapper_GEInitialize(char** keys, char** values, int size) {
  if (keys == nullptr || values == nullptr)
    return ge_breach("GeApiWrapper_GEInitialize with null arrays");
  return initialize(options_of(keys, values, size));
}

extern "C" Status fake_GeApiWrapper_GEFinalize() { return finalize(); }
extern "C" bool fake_GeApiWrapper_IsGEInitialized() { return is_initialized(); }

extern "C" const char* fake_GeApiWrapper_GEGetErrorMsg() {
  static thread_local std::string text;
  text = std::exchange(ge_error_text(), {});
  return text.c_str();
}

extern "C" void* fake_GeApiWrapper_Session_CreateSessionWithOptions(char** keys, char** values,
                                                                    int size) {
  if (keys == nullptr || values == nullptr)
    return nullptr;
  const std::uint64_t id = create_session(options_of(keys, values, size));
  return id == 0 ? nullptr : new Session{id};
}

extern "C" void fake_GeApiWrapper_Session_DestroySession(const Session* session) {
  destroy_session(session->id);
  delete session;
}

extern "C" Graph* fake_GeApiWrapper_Graph_CreateGraph(const char* name) {
  auto* graph = new Graph{std::make_shared<ModelBytes>()};
  graph->model->name = name;
  return graph;
}

extern "C" void fake_GeApiWrapper_Graph_DestroyGraph(const Graph* graph) { delete graph; }

extern "C" Status fake_GeApiWrapper_Session_AddGraphWithOptions(Session* session, std::uint32_t id,
                                                                Graph* graph, char** keys,
                                                                char** values, int size) {
  if (session == nullptr || graph == nullptr || keys == nullptr || values == nullptr)
    return ge_breach("GeApiWrapper_Session_AddGraphWithOptions with null");
  return add_graph(session->id, id, *graph, options_of(keys, values, size));
}

extern "C" Status fake_GeApiWrapper_Session_RemoveGraph(Session* session, std::uint32_t id) {
  return remove_graph(session->id, id);
}

extern "C" Status fake_GeApiWrapper_Session_RunGraphWithStreamAsync(Session* session,
                                                                    std::uint32_t id, void* stream,
                                                                    void** inputs, int count,
                                                                    Tensor*** outputs,
                                                                    std::size_t* n_outputs) {
  if (stream == nullptr || inputs == nullptr || outputs == nullptr || n_outputs == nullptr)
    return ge_breach("GeApiWrapper_Session_RunGraphWithStreamAsync with null");
  std::vector<Tensor> given;
  for (int i = 0; i < count; ++i)
    given.push_back(*static_cast<Tensor*>(inputs[i]));
  std::vector<Tensor> made;
  if (const Status status = run_graph(session->id, id, stream, given, made))
    return status;
  *outputs = new Tensor*[made.size()];
  *n_outputs = made.size();
  for (std::size_t i = 0; i < made.size(); ++i)
    (*outputs)[i] = new Tensor(made[i]);
  return 0;
}

extern "C" void fake_GeApiWrapper_Session_FreeTensorArray(Tensor** tensors) { delete[] tensors; }
extern "C" void fake_GeApiWrapper_Tensor_DestroyEsCTensor(Tensor* tensor) { delete tensor; }

extern "C" Status fake_GeApiWrapper_Session_RegisterExternalAllocator(
    const Session* session, const void* stream, void* (*malloc)(void*, std::size_t),
    void (*free)(void*, void*), void* (*address)(void*), void (*destroyed)(void*), void* handle) {
  if (malloc == nullptr || free == nullptr || address == nullptr)
    return ge_breach("GeApiWrapper_Session_RegisterExternalAllocator with null");
  const Callbacks callbacks{malloc, free, address, destroyed, handle};
  return register_allocator(session->id, stream, std::make_shared<CallbackAllocator>(callbacks));
}

extern "C" Status fake_GeApiWrapper_Session_UnregisterExternalAllocator(const Session* session,
                                                                        const void* stream) {
  return unregister_allocator(session->id, stream);
}

extern "C" bool fake_GeApiWrapper_HasExternalAllocator(const void* stream) {
  return has_allocator(stream);
}

} // namespace fake
