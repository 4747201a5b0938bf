#include "program/parts.h"

#include <stdexcept>
#include <string>

namespace torchair::program {
namespace {

// Checks that the registers of every call exist and that only temporaries are written.
class RegisterCheck {
public:
  explicit RegisterCheck(const Parts& parts)
      : proxy_(parts.proxy), first_temporary_(parts.first_temporary()), end_(parts.n_registers()) {}

  void operator()(const ProxyCall& call) const {
    if (proxy_ == nullptr)
      throw std::invalid_argument("a proxy call needs a proxy executor");
    for (Register index : call.tensors)
      read(index);
    if (call.product)
      check_product(call);
  }
  void operator()(const DispatcherCall& call) const {
    for (const Argument& argument : call.arguments)
      check_argument(argument);
    for (const Result& result : call.results)
      for (Register index : result.registers)
        write(index);
  }
  void operator()(const ForeignCall& call) const {
    for (Register index : call.operands)
      read(index);
    for (Register index : call.results)
      write(index);
  }
  void read(Register index) const {
    if (index >= end_)
      throw std::invalid_argument("register " + std::to_string(index) + " does not exist");
  }
  void write(Register index) const {
    if (index != kNoRegister && (index < first_temporary_ || index >= end_))
      throw std::invalid_argument("register " + std::to_string(index) + " is no temporary");
  }

private:
  void check_product(const ProxyCall& call) const {
    const std::size_t result = call.product->has_bias ? 3 : 2;
    if (call.tensors.size() <= result || !is_product(*call.product))
      throw std::invalid_argument("a product has too few operands, or no multiple of 4 columns");
    write(call.tensors[result]);
  }
  void check_argument(const Argument& argument) const {
    if (argument.kind == Argument::Kind::kTensor)
      read(argument.tensor);
    for (const Argument& item : argument.items)
      check_argument(item);
  }

  ProxyHandle proxy_;
  std::size_t first_temporary_;
  std::size_t end_;
};

std::int64_t end_of(const ArenaTensor& tensor) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < tensor.layout.sizes.size(); ++i)
    last += (tensor.layout.sizes[i] - 1) * tensor.layout.strides[i];
  return tensor.offset +
         (last + 1) * static_cast<std::int64_t>(cshim().element_size(tensor.layout.dtype));
}

void check_layout(const Layout& layout) {
  if (layout.sizes.size() != layout.strides.size())
    throw std::invalid_argument("a layout has as many sizes as strides");
}

void check_plan(const Parts& parts, const RegisterCheck& registers) {
  if (!parts.input_layouts.empty() && parts.input_layouts.size() != parts.n_inputs)
    throw std::invalid_argument("a planned program knows the layout of every input");
  for (const Layout& layout : parts.input_layouts)
    check_layout(layout);
  for (const ArenaTensor& tensor : parts.arena_tensors) {
    registers.read(tensor.index);
    registers.write(tensor.index);
    check_layout(tensor.layout);
    if (tensor.offset < 0 || end_of(tensor) > parts.arena_bytes)
      throw std::invalid_argument("register " + std::to_string(tensor.index) +
                                  " lies outside the arena");
  }
  for (const FixedView& view : parts.views) {
    registers.read(view.index);
    registers.write(view.index);
    check_layout(view.layout);
    if (view.base >= parts.first_temporary())
      throw std::invalid_argument("register " + std::to_string(view.index) +
                                  " is a view of a temporary");
  }
}

void check_placement(const Parts& parts) {
  std::vector<bool> recorded(parts.n_events, false);
  for (const Instruction& instruction : parts.instructions) {
    const Placement& placement = instruction.placement;
    if (placement.stream >= parts.n_streams)
      throw std::invalid_argument("stream " + std::to_string(placement.stream) + " does not exist");
    for (std::uint32_t event : placement.waits)
      if (event >= parts.n_events || !recorded[event])
        throw std::invalid_argument("event " + std::to_string(event) +
                                    " is waited for before its record");
    for (std::uint32_t event : placement.records) {
      if (event >= parts.n_events || recorded[event])
        throw std::invalid_argument("event " + std::to_string(event) +
                                    " is recorded twice or does not exist");
      recorded[event] = true;
    }
  }
}

} // namespace

void check_parts(const Parts& parts) {
  const RegisterCheck registers(parts);
  for (const Instruction& instruction : parts.instructions) {
    std::visit(registers, instruction.call);
    for (Register index : instruction.frees)
      registers.read(index);
  }
  for (Register index : parts.outputs)
    registers.read(index);
  check_plan(parts, registers);
  check_placement(parts);
}

} // namespace torchair::program
