// The Graph Engine (GE): one session of a process that holds compiled graphs.
//
// Two ways lead to it. The wrapper is plain C and comes with CANN's Python package since 9.1.0; it
// compiles a graph at its first run and says nothing about memory. The C++ session exists in every
// release; it is called by mangled names (ge_layouts.h says what is relied on).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cann/allocator.h"

namespace torchair::cann {

using OptionList = std::vector<std::pair<std::string, std::string>>;

enum class Route { kAuto, kWrapper, kSession };

// GE refused or failed. what() has the call, the status (0: it returned null) and GE's own text.
class GeError : public std::runtime_error {
public:
  GeError(const std::string& function, GeStatus status, const std::string& text);
  GeStatus status() const noexcept { return status_; }

private:
  GeStatus status_;
};

// A tensor that somebody else owns. The element type is ge::DataType's number.
struct TensorView {
  void* data = nullptr;
  std::size_t bytes = 0;
  std::int32_t type = 0;
  std::vector<std::int64_t> shape;
  bool on_host = false;
};

// A tensor that GE made; its memory goes back to the allocator at the end.
class Output {
public:
  Output(TensorView view, std::shared_ptr<void> owner)
      : view_(std::move(view)), owner_(std::move(owner)) {}
  const TensorView& view() const noexcept { return view_; }

private:
  TensorView view_;
  std::shared_ptr<void> owner_;
};

// What GE says about a compiled graph.
struct Summary {
  bool is_static = false;
  bool refreshable = false; // the feature memory may be another one in every run
  std::size_t const_bytes = 0;
  std::size_t feature_bytes = 0;
  std::size_t fixed_bytes = 0; // of the feature memory that may not move
  std::vector<std::vector<std::int64_t>> output_shapes;
};

class GeSession {
public:
  virtual ~GeSession() = default; // every graph must have been removed
  virtual const char* route() const = 0;
  // `model` is a serialized ge.proto.ModelDef.
  virtual void add_graph(std::uint32_t id, std::span<const std::byte> model,
                         const OptionList& options) = 0;
  virtual void remove_graph(std::uint32_t id) = 0;
  // Nothing where the route compiles at the first run.
  virtual std::optional<Summary> compile(std::uint32_t id) = 0;
  virtual void set_const_memory(std::uint32_t id, void* memory, std::size_t bytes) = 0;
  virtual void set_feature_memory(std::uint32_t id, void* memory, std::size_t bytes) = 0;
  virtual void set_fixed_memory(std::uint32_t id, void* memory, std::size_t bytes) = 0;
  // From here on GE takes the memory of this stream's graphs from `allocator`.
  virtual void register_allocator(void* stream, std::shared_ptr<Allocator> allocator) = 0;
  virtual void unregister_allocator(void* stream) = 0;
  // Queues the graph. Inputs and outputs must stay until the stream has been synchronized; no
  // `outputs` means that GE makes them.
  virtual std::vector<Output> run(std::uint32_t id, void* stream,
                                  std::span<const TensorView> inputs,
                                  std::span<const TensorView> outputs) = 0;
  // Whether a compiled graph of fixed shapes can be loaded once and then executed, which saves work
  // in every run.
  virtual bool can_load() const { return false; }
  virtual void load(std::uint32_t id, void* stream, const OptionList& options);
  // As run(), after load(). All outputs are given.
  virtual void execute(std::uint32_t id, void* stream, std::span<const TensorView> inputs,
                       std::span<const TensorView> outputs);
  // The tasks of a loaded graph in JSON. Throws kFeatureNotSupport where GE cannot tell.
  virtual std::string tasks_json(std::uint32_t id);
};

// Starts GE in this process with `process` options, and a session with `session` options.
//
// Starting GE where torch_npu has started it does nothing; `owned` is false then, and torch_npu
// ends it. Throws LoadError when the route is not possible here, GeError when GE fails.
std::unique_ptr<GeSession> open_session(std::shared_ptr<const Library> library, Route route,
                                        const OptionList& process, const OptionList& session,
                                        bool owned);

// For open_session.
std::unique_ptr<GeSession> open_cxx_session(std::shared_ptr<const Library> library,
                                            const OptionList& process, const OptionList& session,
                                            bool owned);
std::unique_ptr<GeSession> open_wrapper_session(std::shared_ptr<const Library> library,
                                                const OptionList& process,
                                                const OptionList& session, bool owned);

} // namespace torchair::cann
