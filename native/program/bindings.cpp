#include "program/bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "program/binding.h"
#include "program/proxy_model.h"
#include "runtime/bindings.h"
#include "runtime/gil.h"

namespace nb = nanobind;

namespace torchair::program {
namespace {

// Tensors cross from and to Python as nameless capsules that own one handle each: torch's own
// exchange format.
Tensor take(nb::handle capsule) {
  void* handle = PyCapsule_GetPointer(capsule.ptr(), nullptr);
  if (handle == nullptr)
    throw nb::python_error();
  return Tensor(static_cast<TensorHandle>(handle));
}

std::vector<Tensor> take_all(const nb::list& capsules) {
  std::vector<Tensor> tensors;
  tensors.reserve(nb::len(capsules));
  for (nb::handle capsule : capsules)
    tensors.push_back(take(capsule));
  return tensors;
}

nb::object give(Tensor tensor) {
  PyObject* capsule = PyCapsule_New(tensor.get(), nullptr, nullptr);
  if (capsule == nullptr)
    throw nb::python_error();
  tensor.release();
  return nb::steal(capsule);
}

nb::list give_all(std::vector<Tensor> tensors) {
  nb::list capsules;
  for (Tensor& tensor : tensors)
    capsules.append(give(std::move(tensor)));
  return capsules;
}

// function(capsules of the operands) -> capsules of the results, None for an undefined one.
class PythonFunction final : public ForeignFunction {
public:
  explicit PythonFunction(nb::object function) : function_(std::move(function)) {}
  ~PythonFunction() override {
    const nb::gil_scoped_acquire gil;
    function_.reset();
  }
  std::vector<Tensor> call(std::span<const TensorHandle> operands) override {
    const nb::gil_scoped_acquire gil;
    try {
      return call_python(operands);
    } catch (const nb::python_error& error) {
      throw std::runtime_error(runtime::describe(error));
    }
  }

private:
  std::vector<Tensor> call_python(std::span<const TensorHandle> operands) {
    nb::list arguments;
    for (TensorHandle operand : operands)
      arguments.append(give(Tensor::share(operand)));
    const nb::object returned = function_(arguments);
    std::vector<Tensor> results;
    for (nb::handle capsule : nb::cast<nb::list>(returned))
      results.push_back(capsule.is_none() ? Tensor::undefined() : take(capsule));
    return results;
  }

  nb::object function_;
};

using OptionalRegisters = std::vector<std::optional<Register>>;

std::vector<Register> to_registers(const OptionalRegisters& indices) {
  std::vector<Register> registers;
  registers.reserve(indices.size());
  for (const auto& index : indices)
    registers.push_back(index.value_or(kNoRegister));
  return registers;
}

// ("bits", int) | ("tensor", register) | ("none",) | ("some", argument) | ("list", [argument ...])
Argument parse_argument(nb::handle object) {
  const auto spec = nb::cast<nb::tuple>(object);
  const auto kind = nb::cast<std::string>(spec[0]);
  if (kind == "none")
    return {.kind = Argument::Kind::kNone};
  if (kind == "bits")
    return {.kind = Argument::Kind::kBits, .bits = nb::cast<std::uint64_t>(spec[1])};
  if (kind == "tensor")
    return {.kind = Argument::Kind::kTensor, .tensor = nb::cast<Register>(spec[1])};
  if (kind == "some")
    return {.kind = Argument::Kind::kSome, .items = {parse_argument(spec[1])}};
  if (kind != "list")
    throw std::invalid_argument("an argument has the unknown kind " + kind);
  Argument list{.kind = Argument::Kind::kList};
  for (nb::handle item : nb::cast<nb::list>(spec[1]))
    list.items.push_back(parse_argument(item));
  return list;
}

// (stream, events waited for, events recorded)
using PlacementSpec =
    std::tuple<std::uint32_t, std::vector<std::uint32_t>, std::vector<std::uint32_t>>;
// (rows, columns, whether there is a bias, whether the result is allocated, threads)
using ProductSpec = std::tuple<std::int64_t, std::int64_t, bool, bool, std::uint32_t>;
// (dtype, sizes, strides)
using LayoutSpec = std::tuple<std::int32_t, std::vector<std::int64_t>, std::vector<std::int64_t>>;
// (dtype, sizes, strides, storage offset, storage bytes, storage address)
using ObservedSpec = std::tuple<std::int32_t, std::vector<std::int64_t>, std::vector<std::int64_t>,
                                std::int64_t, std::int64_t, std::uintptr_t>;
// What Python calls a program is a binding of one.
using ProgramHandle = runtime::Handle<Binding>;
using LaunchHandle = runtime::Handle<Launch>;
using ArenaHandle = runtime::Handle<Arena>;

Layout to_layout(LayoutSpec spec) {
  return {std::get<0>(spec), std::move(std::get<1>(spec)), std::move(std::get<2>(spec))};
}

class ProgramBuilder {
public:
  ProgramBuilder(const ProgramBuilder&) = delete;
  ProgramBuilder& operator=(const ProgramBuilder&) = delete;
  ProgramBuilder(std::size_t n_inputs, const nb::list& constants, std::size_t n_temporaries,
                 std::uintptr_t proxy) {
    parts_.n_inputs = n_inputs;
    parts_.constants = take_all(constants);
    parts_.n_temporaries = n_temporaries;
    parts_.proxy = reinterpret_cast<ProxyHandle>(proxy);
  }

  void add_proxy_call(int node, std::vector<std::int64_t> ints, std::vector<Register> tensors,
                      std::vector<Register> frees, PlacementSpec placement) {
    add(ProxyCall{node, std::move(ints), std::move(tensors)}, std::move(frees),
        std::move(placement));
  }

  void add_product_call(int node, std::vector<Register> tensors, ProductSpec product,
                        std::vector<Register> frees, PlacementSpec placement) {
    const auto& [n_rows, n_columns, has_bias, allocates, n_threads] = product;
    add(ProxyCall{node,
                  {},
                  std::move(tensors),
                  RowProduct{n_rows, n_columns, has_bias, allocates, n_threads}},
        std::move(frees), std::move(placement));
  }

  void add_dispatcher_call(std::string op, std::string overload, const nb::list& arguments,
                           const std::vector<std::pair<bool, OptionalRegisters>>& results,
                           std::vector<Register> frees, PlacementSpec placement) {
    DispatcherCall call{std::move(op), std::move(overload), {}, {}};
    for (nb::handle argument : arguments)
      call.arguments.push_back(parse_argument(argument));
    for (const auto& [is_list, registers] : results)
      call.results.push_back({is_list, to_registers(registers)});
    add(std::move(call), std::move(frees), std::move(placement));
  }

  void add_python_call(nb::object function, std::vector<Register> operands,
                       const OptionalRegisters& results, std::vector<Register> frees,
                       PlacementSpec placement) {
    add(ForeignCall{std::make_unique<PythonFunction>(std::move(function)), std::move(operands),
                    to_registers(results)},
        std::move(frees), std::move(placement));
  }

  void set_arena(std::int64_t bytes) { parts_.arena_bytes = bytes; }
  void add_arena_tensor(Register index, std::int64_t offset, LayoutSpec layout) {
    parts_.arena_tensors.push_back({index, offset, to_layout(std::move(layout))});
  }
  void add_view(Register index, Register base, std::int64_t offset, LayoutSpec layout) {
    parts_.views.push_back({index, base, offset, to_layout(std::move(layout))});
  }
  void add_input_layout(LayoutSpec layout) {
    parts_.input_layouts.push_back(to_layout(std::move(layout)));
  }

  ProgramHandle build(std::vector<Register> outputs, std::uint32_t n_streams,
                      std::uint32_t n_events, const ArenaHandle* arena) {
    parts_.outputs = std::move(outputs);
    parts_.n_streams = n_streams;
    parts_.n_events = n_events;
    auto program = std::make_shared<const Program>(std::exchange(parts_, {}));
    return ProgramHandle(std::make_shared<Binding>(std::move(program), std::vector<Register>{},
                                                   std::vector<Tensor>{}, nullptr,
                                                   arena != nullptr ? arena->share() : nullptr));
  }

private:
  template <typename Call>
  void add(Call call, std::vector<Register> frees, PlacementSpec placement) {
    auto& [stream, waits, records] = placement;
    parts_.instructions.push_back(
        {std::move(call), std::move(frees), {stream, std::move(waits), std::move(records)}});
  }

  Parts parts_;
};

std::optional<nb::list> run_program(ProgramHandle& program, const nb::list& inputs) {
  std::vector<Tensor> tensors = take_all(inputs);
  std::optional<std::vector<Tensor>> outputs;
  {
    const runtime::ReleasedGil no_gil;
    outputs = program->run(tensors);
    if (outputs)
      tensors.clear();
  }
  if (outputs)
    return give_all(std::move(*outputs));
  for (Tensor& tensor : tensors) // the capsules still own them
    tensor.release();
  return std::nullopt;
}

// bias may be null. The tensors are contiguous, of float32, and of the right sizes.
bool multiply_rows(const ProductSpec& spec, std::uintptr_t matrix, std::uintptr_t vector,
                   std::uintptr_t bias, std::uintptr_t result) {
  const auto& [n_rows, n_columns, has_bias, allocates, n_threads] = spec;
  const RowProduct product{n_rows, n_columns, has_bias, allocates, n_threads};
  const RowProductData data{reinterpret_cast<const float*>(matrix),
                            reinterpret_cast<const float*>(vector),
                            reinterpret_cast<const float*>(bias), reinterpret_cast<float*>(result)};
  if (!is_product(product) || !is_aligned(data))
    return false;
  multiply(product, data);
  return true;
}

ObservedSpec to_spec(Observed observed) {
  return {
      observed.layout.dtype,   std::move(observed.layout.sizes), std::move(observed.layout.strides),
      observed.storage_offset, observed.storage_bytes,           observed.storage};
}

std::pair<nb::list, std::vector<std::vector<std::optional<ObservedSpec>>>>
observe_program(ProgramHandle& program, const nb::list& inputs,
                const std::vector<std::vector<Register>>& results) {
  std::vector<Tensor> tensors = take_all(inputs);
  std::vector<std::vector<Observed>> observed;
  {
    const runtime::ReleasedGil no_gil;
    tensors = program->observe(tensors, results, observed);
  }
  std::vector<std::vector<std::optional<ObservedSpec>>> specs;
  for (auto& row : observed) {
    specs.emplace_back();
    for (Observed& entry : row)
      specs.back().push_back(entry.is_strided ? std::optional(to_spec(std::move(entry)))
                                              : std::nullopt);
  }
  return {give_all(std::move(tensors)), std::move(specs)};
}

ProgramHandle bind_program(ProgramHandle& program, std::vector<Register> indices,
                           const nb::list& tensors, runtime::Handle<runtime::MemoryPool>* pool) {
  return ProgramHandle(
      std::make_shared<Binding>(program->share_program(), std::move(indices), take_all(tensors),
                                pool != nullptr ? pool->share() : nullptr, nullptr));
}

void put_on(LaunchHandle& launch, runtime::Handle<runtime::Device>& device,
            const nb::list& streams) {
  std::vector<std::shared_ptr<runtime::Stream>> shares;
  for (nb::handle stream : streams)
    shares.push_back(nb::cast<runtime::Handle<runtime::Stream>&>(stream).share());
  const runtime::ReleasedGil no_gil;
  launch->put_on(*device, shares);
}

// OperatorError(instruction: int, text: str)
void bind_operator_error(nb::module_& module) {
  static nb::handle type; // borrowed: the module holds it for the life of the process
  nb::object created =
      nb::steal(PyErr_NewException("torchair._native.OperatorError", PyExc_RuntimeError, nullptr));
  module.attr("OperatorError") = created;
  type = created;
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const OperatorError& error) {
      const nb::tuple arguments = nb::make_tuple(error.instruction(), error.what());
      PyErr_SetObject(type.ptr(), arguments.ptr());
    }
  });
}

void bind_runs(nb::module_& module) {
  nb::class_<ProgramHandle>(module, "Program")
      .def("run", &run_program, nb::arg("inputs"))
      .def("observe", &observe_program, nb::arg("inputs"), nb::arg("results"))
      .def("bind", &bind_program, nb::arg("indices"), nb::arg("tensors"),
           nb::arg("pool") = nb::none())
      .def(
          "launch",
          [](ProgramHandle& program, std::vector<std::string> labels) {
            return LaunchHandle(std::make_shared<Launch>(program.share(), std::move(labels)));
          },
          nb::arg("labels"));
  nb::class_<LaunchHandle>(module, "Launch")
      .def("put_on", &put_on, nb::arg("device"), nb::arg("streams"))
      .def("outputs", [](LaunchHandle& launch) { return give_all(launch->outputs()); })
      .def("share_memory", [](LaunchHandle& launch) { launch->share_memory(); });
  nb::class_<ArenaHandle>(module, "Arena")
      .def("__init__", [](ArenaHandle* self) { new (self) ArenaHandle(std::make_shared<Arena>()); })
      .def_prop_ro("bytes_reserved",
                   [](const ArenaHandle& arena) { return arena->bytes_reserved(); });
}

void bind_builder(nb::module_& module) {
  const auto nowhere = nb::make_tuple(0, nb::make_tuple(), nb::make_tuple());
  nb::class_<ProgramBuilder>(module, "ProgramBuilder")
      .def(nb::init<std::size_t, const nb::list&, std::size_t, std::uintptr_t>(),
           nb::arg("n_inputs"), nb::arg("constants"), nb::arg("n_temporaries"), nb::arg("proxy"))
      .def("add_proxy_call", &ProgramBuilder::add_proxy_call, nb::arg("node"), nb::arg("ints"),
           nb::arg("tensors"), nb::arg("frees"), nb::arg("placement") = nowhere)
      .def("add_product_call", &ProgramBuilder::add_product_call, nb::arg("node"),
           nb::arg("tensors"), nb::arg("product"), nb::arg("frees"), nb::arg("placement") = nowhere)
      .def("add_dispatcher_call", &ProgramBuilder::add_dispatcher_call, nb::arg("op"),
           nb::arg("overload"), nb::arg("arguments"), nb::arg("results"), nb::arg("frees"),
           nb::arg("placement") = nowhere)
      .def("add_python_call", &ProgramBuilder::add_python_call, nb::arg("function"),
           nb::arg("operands"), nb::arg("results"), nb::arg("frees"),
           nb::arg("placement") = nowhere)
      .def("set_arena", &ProgramBuilder::set_arena, nb::arg("bytes"))
      .def("add_arena_tensor", &ProgramBuilder::add_arena_tensor, nb::arg("register"),
           nb::arg("offset"), nb::arg("layout"))
      .def("add_view", &ProgramBuilder::add_view, nb::arg("register"), nb::arg("base"),
           nb::arg("offset"), nb::arg("layout"))
      .def("add_input_layout", &ProgramBuilder::add_input_layout, nb::arg("layout"))
      .def("build", &ProgramBuilder::build, nb::arg("outputs"), nb::arg("n_streams") = 1,
           nb::arg("n_events") = 0, nb::arg("arena") = nb::none());
}

} // namespace

void bind(nb::module_& module) {
  bind_operator_error(module);
  bind_runs(module);
  bind_builder(module);
  module.def("set_worker_excluded_keys", &set_worker_excluded_keys, nb::arg("keys"));
  module.def("take_proxy_handle",
             [] { return reinterpret_cast<std::uintptr_t>(take_proxy_handle()); });
  module.def(
      "element_size", [](std::int32_t dtype) { return cshim().element_size(dtype); },
      nb::arg("dtype"));
  module.def("multiply_rows", &multiply_rows, nb::arg("product"), nb::arg("matrix"),
             nb::arg("vector"), nb::arg("bias"), nb::arg("result"));
  module.def("torch_enumerator", &torch_enumerator, nb::arg("getter"));
}

} // namespace torchair::program
