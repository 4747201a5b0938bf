#include "cann/bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>
#include <utility>

#include "cann/device.h"
#include "cann/host_run.h"
#include "runtime/bindings.h"
#include "runtime/gil.h"

namespace nb = nanobind;

namespace torchair::cann {
namespace {

using Shape = std::vector<std::int64_t>;
// (address, bytes, ge::DataType, shape, lies on the host)
using ViewTuple = std::tuple<std::uintptr_t, std::size_t, std::int32_t, Shape, bool>;

std::vector<TensorView> to_views(std::vector<ViewTuple> tuples) {
  std::vector<TensorView> views;
  views.reserve(tuples.size());
  for (auto& [address, bytes, type, shape, on_host] : tuples)
    views.push_back({reinterpret_cast<void*>(address), bytes, type, std::move(shape), on_host});
  return views;
}

// allocate(bytes, stream) -> address, free(address): the framework's caching allocator.
class PythonAllocator final : public Allocator {
public:
  PythonAllocator(nb::object allocate, nb::object free, std::uintptr_t stream)
      : allocate_(std::move(allocate)), free_(std::move(free)), stream_(stream) {}

  ~PythonAllocator() override {
    const nb::gil_scoped_acquire gil;
    allocate_.reset();
    free_.reset();
  }

  void* allocate(std::size_t bytes) override {
    const nb::gil_scoped_acquire gil;
    try {
      return reinterpret_cast<void*>(nb::cast<std::uintptr_t>(allocate_(bytes, stream_)));
    } catch (const nb::python_error& error) {
      throw runtime::Error(runtime::Code::kMemoryAllocation,
                           "the framework's allocator refused " + std::to_string(bytes) + " bytes",
                           nb::cast<std::string>(nb::str(error.value())));
    }
  }

  void free(void* address) noexcept override {
    const nb::gil_scoped_acquire gil;
    try {
      free_(reinterpret_cast<std::uintptr_t>(address));
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("torchair: freeing device memory");
    }
  }

private:
  nb::object allocate_;
  nb::object free_;
  std::uintptr_t stream_;
};

// Python objects die with the GIL held, and what they own may wait for the device.
template <typename T> class Owned {
public:
  explicit Owned(T value) : value_(std::move(value)) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    const runtime::ReleasedGil no_gil;
    const T last = std::move(value_);
  }
  const T& get() const noexcept { return value_; }

private:
  T value_;
};

using PythonGraph = Owned<std::shared_ptr<CompiledGraph>>;
using PythonOutput = Owned<std::pair<std::shared_ptr<Engine>, Output>>;

void check_signals() {
  const nb::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0)
    throw nb::python_error();
}

class PythonEngine {
public:
  PythonEngine(std::vector<std::string> folders, int device, const std::string& route, bool owned,
               std::string dump_config, OptionList process, OptionList session) {
    const runtime::ReleasedGil no_gil;
    engine_ = Engine::open({std::move(folders), device, parse(route), owned, std::move(dump_config),
                            std::move(process), std::move(session)});
  }
  PythonEngine(const PythonEngine&) = delete;
  PythonEngine& operator=(const PythonEngine&) = delete;
  ~PythonEngine() {
    const runtime::ReleasedGil no_gil;
    engine_.reset();
  }

  nb::object compile(const nb::bytes& model, const OptionList& options) const {
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(model.data()),
                                           model.size());
    std::shared_ptr<CompiledGraph> graph;
    {
      const runtime::ReleasedGil no_gil;
      graph = engine_->compile(bytes, options);
    }
    return nb::cast(new PythonGraph(std::move(graph)), nb::rv_policy::take_ownership);
  }

  nb::list run_on_host(const PythonGraph& graph, std::vector<ViewTuple> inputs,
                       std::vector<ViewTuple> outputs, const std::vector<Alias>& aliases) const {
    std::vector<Output> made;
    {
      const runtime::ReleasedGil no_gil;
      made = cann::run_on_host(*engine_, *graph.get(), to_views(std::move(inputs)),
                               to_views(std::move(outputs)), aliases, check_signals);
    }
    return give(std::move(made));
  }

  nb::list run(const PythonGraph& graph, std::uintptr_t stream, nb::object allocate,
               nb::object free, std::vector<ViewTuple> inputs, std::vector<ViewTuple> outputs,
               const std::vector<std::size_t>& frozen) const {
    const auto allocator =
        std::make_shared<PythonAllocator>(std::move(allocate), std::move(free), stream);
    std::vector<Output> made;
    {
      const runtime::ReleasedGil no_gil;
      made = graph.get()->run(reinterpret_cast<void*>(stream), allocator,
                              to_views(std::move(inputs)), to_views(std::move(outputs)), frozen);
    }
    return give(std::move(made));
  }

  // Queues a copy of an output on a stream, from the device to the device.
  void copy_output(const PythonOutput& output, std::uintptr_t target, std::size_t bytes,
                   std::uintptr_t stream) const {
    const runtime::ReleasedGil no_gil;
    const Acl& acl = *engine_->acl();
    acl.enter_thread();
    acl.copy_async(reinterpret_cast<void*>(target), output.get().second.view().data, bytes,
                   reinterpret_cast<Handle>(stream));
  }

  bool show_prints() const {
    const runtime::ReleasedGil no_gil;
    return engine_->show_prints();
  }

  void close() const {
    const runtime::ReleasedGil no_gil;
    engine_->close();
  }

  const Engine& engine() const { return *engine_; }
  const std::shared_ptr<Engine>& shared() const { return engine_; }

private:
  static Route parse(const std::string& route) {
    if (route == "auto")
      return Route::kAuto;
    if (route == "wrapper")
      return Route::kWrapper;
    if (route == "session")
      return Route::kSession;
    throw std::invalid_argument("the route is auto, wrapper or session, not " + route);
  }

  nb::list give(std::vector<Output> outputs) const {
    nb::list list;
    for (Output& output : outputs)
      list.append(
          nb::cast(new PythonOutput({engine_, std::move(output)}), nb::rv_policy::take_ownership));
    return list;
  }

  std::shared_ptr<Engine> engine_;
};

// The device of the runtime interface; one at a time in a process.
std::shared_ptr<NpuDevice>& npu_device() {
  static auto* const device = new std::shared_ptr<NpuDevice>; // streams may outlive statics
  return *device;
}

runtime::Handle<runtime::Device> open_device(const std::vector<std::string>& folders, int device,
                                             bool owned) {
  const runtime::ReleasedGil no_gil;
  if (npu_device() == nullptr)
    npu_device() = std::make_shared<NpuDevice>(AclUse(Library::open(folders), device, owned));
  return runtime::Handle<runtime::Device>(npu_device());
}

void close_device() {
  const runtime::ReleasedGil no_gil;
  if (const std::shared_ptr<NpuDevice> last = std::exchange(npu_device(), nullptr))
    last->close();
}

// CannLoadError(what: str, found: str)
void bind_load_error(nb::module_& module) {
  static nb::handle type; // borrowed: the module holds it for the life of the process
  nb::object created =
      nb::steal(PyErr_NewException("torchair._native.CannLoadError", PyExc_RuntimeError, nullptr));
  module.attr("CannLoadError") = created;
  type = created;
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const LoadError& error) {
      const nb::tuple arguments = nb::make_tuple(error.what(), error.found());
      PyErr_SetObject(type.ptr(), arguments.ptr());
    }
  });
}

std::vector<std::tuple<std::string, bool>> symbols() {
  std::vector<std::tuple<std::string, bool>> names;
  for (const SymbolFacts& symbol : all_symbols())
    names.emplace_back(symbol.name, symbol.need != Need::kOptional);
  return names;
}

std::vector<std::pair<std::string, std::string>> libraries(const PythonEngine& engine) {
  std::vector<std::pair<std::string, std::string>> paths;
  for (const LibraryFacts& library : engine.engine().acl()->library().libraries())
    paths.emplace_back(library.name, library.path);
  return paths;
}

void bind_results(nb::module_& module) {
  nb::class_<PythonGraph>(module, "CannGraph")
      .def_prop_ro("is_static",
                   [](const PythonGraph& graph) -> std::optional<bool> {
                     const auto& summary = graph.get()->summary();
                     return summary ? std::optional(summary->is_static) : std::nullopt;
                   })
      .def("tasks_json",
           [](const PythonGraph& graph) {
             const runtime::ReleasedGil no_gil;
             return graph.get()->tasks_json();
           })
      .def_prop_ro("output_shapes",
                   [](const PythonGraph& graph) {
                     const auto& summary = graph.get()->summary();
                     return summary ? summary->output_shapes : std::vector<Shape>();
                   })
      .def_prop_ro("memory", [](const PythonGraph& graph) {
        const Summary summary = graph.get()->summary().value_or(Summary{});
        return std::make_tuple(summary.const_bytes, summary.feature_bytes, summary.fixed_bytes);
      });
  nb::class_<PythonOutput>(module, "CannOutput")
      .def_prop_ro("shape",
                   [](const PythonOutput& output) { return output.get().second.view().shape; })
      .def_prop_ro("type",
                   [](const PythonOutput& output) { return output.get().second.view().type; })
      .def_prop_ro("nbytes",
                   [](const PythonOutput& output) { return output.get().second.view().bytes; })
      .def(
          "copy_to_host",
          [](const PythonOutput& output, std::uintptr_t target, std::size_t bytes) {
            const runtime::ReleasedGil no_gil;
            const auto& [engine, result] = output.get();
            copy_to_host(*engine, result, reinterpret_cast<void*>(target), bytes);
          },
          nb::arg("target"), nb::arg("nbytes"));
}

} // namespace

void bind(nb::module_& module) {
  bind_load_error(module);
  bind_results(module);
  module.def("cann_symbols", &symbols);
  module.def("cann_open_device", &open_device, nb::arg("folders"), nb::arg("device"),
             nb::arg("owned"));
  module.def("cann_close_device", &close_device);
  runtime::add_device("cann", []() -> std::shared_ptr<runtime::Device> {
    if (npu_device() == nullptr)
      throw std::runtime_error("the cann device is not open: call "
                               "torchair.backend_ge.cann.process.open_device() first");
    return npu_device();
  });
  module.def(
      "cann_load",
      [](const std::vector<std::string>& folders) {
        const runtime::ReleasedGil no_gil;
        return Library::open(folders)->report();
      },
      nb::arg("folders"));
  nb::class_<PythonEngine>(module, "CannEngine")
      .def(nb::init<std::vector<std::string>, int, const std::string&, bool, std::string,
                    OptionList, OptionList>(),
           nb::arg("folders"), nb::arg("device"), nb::arg("route"), nb::arg("owned"),
           nb::arg("dump_config"), nb::arg("process_options"), nb::arg("session_options"))
      .def("compile", &PythonEngine::compile, nb::arg("model"), nb::arg("options"))
      .def("run_on_host", &PythonEngine::run_on_host, nb::arg("graph"), nb::arg("inputs"),
           nb::arg("outputs"), nb::arg("aliases"))
      .def("run", &PythonEngine::run, nb::arg("graph"), nb::arg("stream"), nb::arg("allocate"),
           nb::arg("free"), nb::arg("inputs"), nb::arg("outputs"),
           nb::arg("frozen") = std::vector<std::size_t>())
      .def("copy_output", &PythonEngine::copy_output, nb::arg("output"), nb::arg("target"),
           nb::arg("nbytes"), nb::arg("stream"))
      .def("show_prints", &PythonEngine::show_prints)
      .def("close", &PythonEngine::close)
      .def_prop_ro("loads", [](const PythonEngine& engine) { return engine.engine().loads(); })
      .def_prop_ro("libraries", &libraries)
      .def_prop_ro("closed", [](const PythonEngine& engine) { return engine.engine().closed(); })
      .def_prop_ro("route", [](const PythonEngine& engine) { return engine.engine().route(); })
      .def_prop_ro("soc_name",
                   [](const PythonEngine& engine) { return engine.engine().acl()->soc_name(); });
}

} // namespace torchair::cann
