// GE through the C++ class ge::Session.
#include <cstdio>
#include <future>
#include <mutex>

#include "cann/ge_session.h"
#include "cann/ge_tensor.h"

namespace torchair::cann {
namespace {

ge::AscendString make_string(const GeFunctions& ge, const std::string& text) {
  ge::AscendString string;
  ge.string_create(&string, text.c_str());
  return string;
}

ge::Options make_options(const GeFunctions& ge, const OptionList& options) {
  ge::Options made;
  for (const auto& [key, value] : options)
    made.emplace(make_string(ge, key), make_string(ge, value));
  return made;
}

class CxxSession final : public GeSession {
public:
  CxxSession(std::shared_ptr<const Library> library, const OptionList& process,
             const OptionList& session, bool owned)
      : library_(std::move(library)), owned_(owned) {
    check(ge().initialize(make_options(ge(), process)), "ge::GEInitialize");
    ge().session_create(&session_, make_options(ge(), session));
  }

  ~CxxSession() override {
    ge().session_destroy(&session_);
    const GeStatus status = owned_ ? ge().finalize() : 0;
    if (status != 0)
      std::fprintf(stderr, "torchair: ge::GEFinalize failed with status 0x%08X\n", status);
  }

  const char* route() const override { return "session"; }

  void add_graph(std::uint32_t id, std::span<const std::byte> model,
                 const OptionList& options) override {
    ge::Graph graph;
    ge().graph_create(&graph, ("graph_" + std::to_string(id)).c_str());
    check(ge().graph_load(&graph, model.data(), model.size()),
          "ge::Graph::LoadFromSerializedModelArray");
    check(ge().session_add_graph(&session_, id, graph, make_options(ge(), options)),
          "ge::Session::AddGraph");
  }

  void remove_graph(std::uint32_t id) override {
    check(ge().session_remove_graph(&session_, id), "ge::Session::RemoveGraph");
  }

  std::optional<Summary> compile(std::uint32_t id) override {
    check(ge().session_compile(&session_, id), "ge::Session::CompileGraph");
    const std::shared_ptr<void> facts = ge().session_summary(&session_, id);
    if (facts == nullptr)
      throw GeError("ge::Session::GetCompiledGraphSummary", 0, last_text());
    return read_summary(facts.get());
  }

  void set_const_memory(std::uint32_t id, void* memory, std::size_t bytes) override {
    check(ge().session_set_const_memory(&session_, id, memory, bytes),
          "ge::Session::SetGraphConstMemoryBase");
  }

  void set_feature_memory(std::uint32_t id, void* memory, std::size_t bytes) override {
    check(ge().session_set_feature_memory(&session_, id, memory, bytes),
          "ge::Session::UpdateGraphFeatureMemoryBase");
  }

  void set_fixed_memory(std::uint32_t id, void* memory, std::size_t bytes) override {
    check(ge().session_set_fixed_memory(&session_, id, memory, bytes),
          "ge::Session::SetGraphFixedFeatureMemoryBase");
  }

  void register_allocator(void* stream, std::shared_ptr<Allocator> allocator) override {
    check(ge().session_register_allocator(&session_, stream, ge_allocator(std::move(allocator))),
          "ge::Session::RegisterExternalAllocator");
  }

  void unregister_allocator(void* stream) override {
    if (ge().session_unregister_allocator == nullptr)
      return; // the session's destructor does it
    check(ge().session_unregister_allocator(&session_, stream),
          "ge::Session::UnregisterExternalAllocator");
  }

  std::vector<Output> run(std::uint32_t id, void* stream, std::span<const TensorView> inputs,
                          std::span<const TensorView> outputs) override {
    std::vector<ge::Tensor> given = make_tensors(inputs);
    std::vector<ge::Tensor> results = make_tensors(outputs);
    check(ge().session_run(&session_, id, stream, given, results),
          "ge::Session::RunGraphWithStreamAsync");
    std::vector<Output> made;
    made.reserve(results.size());
    for (ge::Tensor& tensor : results)
      made.emplace_back(view_of(ge(), tensor), std::move(tensor.body));
    return made;
  }

  bool can_load() const override {
    return ge().session_load != nullptr && ge().session_execute != nullptr;
  }

  void load(std::uint32_t id, void* stream, const OptionList& options) override {
    check(ge().session_load(session_, id, make_options(ge(), options), stream),
          "GeSessionLoadGraph");
  }

  void execute(std::uint32_t id, void* stream, std::span<const TensorView> inputs,
               std::span<const TensorView> outputs) override {
    const std::vector<gert::Tensor> given = make_executor_tensors(inputs);
    std::vector<gert::Tensor> results = make_executor_tensors(outputs);
    check(ge().session_execute(session_, id, stream, given, results),
          "GeSessionExecuteGraphWithStreamAsync");
  }

  std::string tasks_json(std::uint32_t id) override {
    if (ge().session_json == nullptr)
      return GeSession::tasks_json(id);
    ge::AscendString text;
    check(ge().session_json(session_, id, kVerbose, text), "GeSessionGraphDebugJSONPrint");
    const char* characters = text.text == nullptr ? nullptr : ge().string_text(&text);
    return characters == nullptr ? "" : characters;
  }

private:
  static constexpr std::uint32_t kVerbose = 1;

  const GeFunctions& ge() const noexcept { return library_->ge(); }

  std::vector<ge::Tensor> make_tensors(std::span<const TensorView> views) const {
    std::vector<ge::Tensor> tensors;
    tensors.reserve(views.size());
    for (const TensorView& view : views)
      tensors.push_back(make_tensor(ge(), view));
    return tensors;
  }

  Summary read_summary(const void* facts) const {
    Summary summary;
    summary.is_static = ge().summary_is_static(facts);
    check(ge().summary_refreshable(facts, summary.refreshable),
          "ge::CompiledGraphSummary::GetFeatureMemoryBaseRefreshable");
    if (ge().summary_fixed_size != nullptr && ge().session_set_fixed_memory != nullptr)
      check(ge().summary_fixed_size(facts, summary.fixed_bytes),
            "ge::CompiledGraphSummary::GetFixedFeatureMemorySize");
    if (!summary.is_static)
      return summary;
    check(ge().summary_const_size(facts, summary.const_bytes),
          "ge::CompiledGraphSummary::GetConstMemorySize");
    check(ge().summary_feature_size(facts, summary.feature_bytes),
          "ge::CompiledGraphSummary::GetFeatureMemorySize");
    std::vector<ge::Shape> shapes;
    check(ge().summary_shapes(facts, shapes), "ge::CompiledGraphSummary::GetOutputShapes");
    for (const ge::Shape& shape : shapes)
      summary.output_shapes.push_back(ge().shape_dims(&shape));
    return summary;
  }

  std::string last_text() const {
    if (ge().error_text == nullptr)
      return {};
    const ge::AscendString text = ge().error_text();
    const char* characters = text.text == nullptr ? nullptr : ge().string_text(&text);
    return characters == nullptr ? "" : characters;
  }

  void check(GeStatus status, const char* function) const {
    if (status != 0)
      throw GeError(function, status, last_text());
  }

  std::shared_ptr<const Library> library_;
  bool owned_;
  ge::Session session_;
};

} // namespace

std::unique_ptr<GeSession> open_cxx_session(std::shared_ptr<const Library> library,
                                            const OptionList& process, const OptionList& session,
                                            bool owned) {
  return std::make_unique<CxxSession>(std::move(library), process, session, owned);
}

} // namespace torchair::cann
