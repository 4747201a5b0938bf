#include "program/bindings.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "program/program.h"
#include "program/proxy_model.h"

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

std::string describe(const nb::python_error& error) {
  const std::string type = nb::cast<std::string>(error.type().attr("__name__"));
  return type + ": " + nb::cast<std::string>(nb::str(error.value()));
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
      throw std::runtime_error(describe(error));
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
                      std::vector<Register> frees) {
    add(ProxyCall{node, std::move(ints), std::move(tensors)}, std::move(frees));
  }

  void add_dispatcher_call(std::string op, std::string overload, const nb::list& arguments,
                           const std::vector<std::pair<bool, OptionalRegisters>>& results,
                           std::vector<Register> frees) {
    DispatcherCall call{std::move(op), std::move(overload), {}, {}};
    for (nb::handle argument : arguments)
      call.arguments.push_back(parse_argument(argument));
    for (const auto& [is_list, registers] : results)
      call.results.push_back({is_list, to_registers(registers)});
    add(std::move(call), std::move(frees));
  }

  void add_python_call(nb::object function, std::vector<Register> operands,
                       const OptionalRegisters& results, std::vector<Register> frees) {
    add(ForeignCall{std::make_unique<PythonFunction>(std::move(function)), std::move(operands),
                    to_registers(results)},
        std::move(frees));
  }

  std::unique_ptr<Program> build(std::vector<Register> outputs) {
    parts_.outputs = std::move(outputs);
    return std::make_unique<Program>(std::exchange(parts_, {}));
  }

private:
  template <typename Call> void add(Call call, std::vector<Register> frees) {
    parts_.instructions.push_back({std::move(call), std::move(frees)});
  }

  Parts parts_;
};

nb::list run_program(const Program& program, const nb::list& inputs) {
  std::vector<Tensor> tensors = take_all(inputs);
  {
    const nb::gil_scoped_release no_gil;
    tensors = program.run(std::move(tensors));
  }
  return give_all(std::move(tensors));
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

} // namespace

void bind(nb::module_& module) {
  bind_operator_error(module);
  nb::class_<Program>(module, "Program").def("run", &run_program, nb::arg("inputs"));
  nb::class_<ProgramBuilder>(module, "ProgramBuilder")
      .def(nb::init<std::size_t, const nb::list&, std::size_t, std::uintptr_t>(),
           nb::arg("n_inputs"), nb::arg("constants"), nb::arg("n_temporaries"), nb::arg("proxy"))
      .def("add_proxy_call", &ProgramBuilder::add_proxy_call, nb::arg("node"), nb::arg("ints"),
           nb::arg("tensors"), nb::arg("frees"))
      .def("add_dispatcher_call", &ProgramBuilder::add_dispatcher_call, nb::arg("op"),
           nb::arg("overload"), nb::arg("arguments"), nb::arg("results"), nb::arg("frees"))
      .def("add_python_call", &ProgramBuilder::add_python_call, nb::arg("function"),
           nb::arg("operands"), nb::arg("results"), nb::arg("frees"))
      .def("build", &ProgramBuilder::build, nb::arg("outputs"));
  module.def("take_proxy_handle",
             [] { return reinterpret_cast<std::uintptr_t>(take_proxy_handle()); });
  module.def("torch_enumerator", &torch_enumerator, nb::arg("getter"));
}

} // namespace torchair::program
