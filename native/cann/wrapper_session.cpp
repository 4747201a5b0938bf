// GE through the plain-C functions GeApiWrapper_*, of CANN 9.1.0 and later.
#include <cstdio>

#include "cann/ge_session.h"
#include "cann/ge_tensor.h"
#include "cann/wrapper_allocators.h"

namespace torchair::cann {
namespace {

// Two arrays of C strings, valid as long as the list is. The wrapper refuses null arrays.
struct OptionArrays {
  explicit OptionArrays(const OptionList& options) : size(static_cast<int>(options.size())) {
    for (const auto& [key, value] : options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    keys.push_back(nullptr);
    values.push_back(nullptr);
  }
  std::vector<const char*> keys;
  std::vector<const char*> values;
  int size;
};

class WrapperSession final : public GeSession {
public:
  WrapperSession(std::shared_ptr<const Library> library, const OptionList& process,
                 const OptionList& session, bool owned)
      : library_(std::move(library)), owned_(owned) {
    const OptionArrays starting(process);
    check(ge().wrapper_initialize(starting.keys.data(), starting.values.data(), starting.size),
          "GeApiWrapper_GEInitialize");
    const OptionArrays options(session);
    session_ =
        ge().wrapper_session_create(options.keys.data(), options.values.data(), options.size);
    if (session_ != nullptr)
      return;
    const std::string text = last_text();
    finalize();
    throw GeError("GeApiWrapper_Session_CreateSessionWithOptions", 0, text);
  }

  ~WrapperSession() override {
    ge().wrapper_session_destroy(session_);
    finalize();
  }

  const char* route() const override { return "wrapper"; }

  void add_graph(std::uint32_t id, std::span<const std::byte> model,
                 const OptionList& options) override {
    const std::string name = "graph_" + std::to_string(id);
    const std::shared_ptr<ge::Graph> graph(ge().wrapper_graph_create(name.c_str()),
                                           [library = library_](ge::Graph* made) {
                                             if (made != nullptr)
                                               library->ge().wrapper_graph_destroy(made);
                                           });
    if (graph == nullptr)
      throw GeError("GeApiWrapper_Graph_CreateGraph", 0, last_text());
    check(ge().graph_load(graph.get(), model.data(), model.size()),
          "ge::Graph::LoadFromSerializedModelArray");
    const OptionArrays arrays(options);
    check(ge().wrapper_add_graph(session_, id, graph.get(), arrays.keys.data(),
                                 arrays.values.data(), arrays.size),
          "GeApiWrapper_Session_AddGraphWithOptions");
  }

  void remove_graph(std::uint32_t id) override {
    check(ge().wrapper_remove_graph(session_, id), "GeApiWrapper_Session_RemoveGraph");
  }

  std::optional<Summary> compile(std::uint32_t /*id*/) override { return std::nullopt; }

  void set_const_memory(std::uint32_t, void*, std::size_t) override { refuse_memory(); }
  void set_feature_memory(std::uint32_t, void*, std::size_t) override { refuse_memory(); }
  void set_fixed_memory(std::uint32_t, void*, std::size_t) override { refuse_memory(); }

  void register_allocator(void* stream, std::shared_ptr<Allocator> allocator) override {
    const WrapperAllocator functions = take_wrapper_allocator(allocator);
    const GeStatus status =
        ge().wrapper_register_allocator(session_, stream, functions.allocate, functions.free,
                                        functions.address, functions.destroyed, functions.place);
    if (status != 0)
      return_wrapper_allocator(functions.place, allocator.get());
    check(status, "GeApiWrapper_Session_RegisterExternalAllocator");
  }

  void unregister_allocator(void* stream) override {
    check(ge().wrapper_unregister_allocator(session_, stream),
          "GeApiWrapper_Session_UnregisterExternalAllocator");
  }

  // The wrapper takes no outputs: GE makes them from the registered allocator.
  std::vector<Output> run(std::uint32_t id, void* stream, std::span<const TensorView> inputs,
                          std::span<const TensorView> /*outputs*/) override {
    std::vector<ge::Tensor> given;
    given.reserve(inputs.size());
    std::vector<void*> pointers;
    for (const TensorView& view : inputs)
      pointers.push_back(&given.emplace_back(make_tensor(ge(), view)));
    pointers.push_back(nullptr);
    ge::Tensor** results = nullptr;
    std::size_t count = 0;
    check(ge().wrapper_run(session_, id, stream, pointers.data(), static_cast<int>(inputs.size()),
                           &results, &count),
          "GeApiWrapper_Session_RunGraphWithStreamAsync");
    return take(results, count);
  }

private:
  const GeFunctions& ge() const noexcept { return library_->ge(); }

  std::vector<Output> take(ge::Tensor** results, std::size_t count) const {
    const auto destroy = [library = library_](void* tensor) {
      library->ge().wrapper_tensor_destroy(static_cast<ge::Tensor*>(tensor));
    };
    std::vector<std::shared_ptr<void>> owners;
    owners.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      owners.emplace_back(results[i], destroy);
    ge().wrapper_free_tensors(results);
    std::vector<Output> made;
    made.reserve(count);
    for (const std::shared_ptr<void>& owner : owners)
      made.emplace_back(view_of(ge(), *static_cast<ge::Tensor*>(owner.get())), owner);
    return made;
  }

  [[noreturn]] static void refuse_memory() {
    throw std::logic_error("GE's plain-C interface takes memory through the allocator only");
  }

  std::string last_text() const {
    const char* text = ge().wrapper_error_text();
    return text == nullptr ? "" : text;
  }

  void check(GeStatus status, const char* function) const {
    if (status != 0)
      throw GeError(function, status, last_text());
  }

  void finalize() const {
    const GeStatus status = owned_ ? ge().wrapper_finalize() : 0;
    if (status != 0)
      std::fprintf(stderr, "torchair: GeApiWrapper_GEFinalize failed with status 0x%08X\n", status);
  }

  std::shared_ptr<const Library> library_;
  bool owned_;
  void* session_ = nullptr;
};

} // namespace

std::unique_ptr<GeSession> open_wrapper_session(std::shared_ptr<const Library> library,
                                                const OptionList& process,
                                                const OptionList& session, bool owned) {
  return std::make_unique<WrapperSession>(std::move(library), process, session, owned);
}

} // namespace torchair::cann
