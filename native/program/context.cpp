#include "program/context.h"

#include <algorithm>
#include <stdexcept>

namespace torchair::program {
namespace {

// The space of a dispatcher call on the stack; more arguments than any schema of torch has.
constexpr std::size_t kStackSize = 64;

void* address_of(TensorHandle tensor) {
  void* address = nullptr;
  check(cshim().get_data_ptr(tensor, &address));
  return address;
}

void* moved(void* address, std::int64_t bytes) { return static_cast<std::byte*>(address) + bytes; }

} // namespace

Context::Context(const Parts& parts, void* arena)
    : parts_(parts), first_temporary_(parts.first_temporary()),
      registers_(parts.n_registers(), nullptr), is_fixed_(parts.n_registers(), false),
      undefined_(Tensor::undefined()), events_(parts.n_events) {
  owned_.reserve(parts.n_registers() - parts.constants.size());
  for (std::size_t i = 0; i < parts.n_registers(); ++i) {
    if (i >= parts.n_inputs && i < first_temporary_) {
      registers_[i] = parts.constants[i - parts.n_inputs].get();
      continue;
    }
    owned_.push_back(Tensor::undefined());
    registers_[i] = owned_.back().get();
  }
  place_fixed(arena);
  collect_handles();
  for (std::uint32_t stream = 1; stream < parts.n_streams; ++stream)
    workers_.push_back(std::make_unique<host::Worker>());
}

void Context::place_fixed(void* arena) {
  for (const ArenaTensor& tensor : parts_.arena_tensors) {
    store(tensor.index, Tensor::over(moved(arena, tensor.offset), tensor.layout));
    is_fixed_[tensor.index] = true;
  }
  for (const FixedView& view : parts_.views) {
    is_fixed_[view.index] = true;
    views_.push_back({&view, nullptr});
  }
}

void Context::collect_handles() {
  for (const Instruction& instruction : parts_.instructions) {
    first_handle_.push_back(handles_.size());
    if (const auto* call = std::get_if<ProxyCall>(&instruction.call))
      for (Register index : call->tensors)
        handles_.push_back(registers_[index]);
  }
}

void Context::bind(std::span<const Register> indices, std::span<const Tensor> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    check(cshim().assign_tensor(inputs[i].get(), registers_[indices[i]]));
  move_views();
}

// Views of what is where it was are still right. Constants are looked at, too: their memory may
// have been exchanged.
void Context::move_views() {
  for (View& view : views_) {
    bool is_bound = false;
    check(cshim().is_defined(registers_[view.plan->base], &is_bound));
    if (!is_bound)
      continue;
    void* address = moved(address_of(registers_[view.plan->base]), view.plan->offset);
    if (address == view.address)
      continue;
    store(view.plan->index, Tensor::over(address, view.plan->layout));
    view.address = address;
  }
}

void Context::unbind(std::span<const Register> indices) noexcept {
  for (Register index : indices)
    cshim().assign_tensor(undefined_.get(), registers_[index]);
}

void Context::call(std::size_t index) {
  const Instruction& instruction = parts_.instructions[index];
  if (const auto* proxy_call = std::get_if<ProxyCall>(&instruction.call))
    make(*proxy_call, index);
  else if (const auto* dispatcher_call = std::get_if<DispatcherCall>(&instruction.call))
    make(*dispatcher_call);
  else
    make(std::get<ForeignCall>(instruction.call));
}

void Context::make(const ProxyCall& call, std::size_t instruction) {
  TensorHandle* tensors = handles_.data() + first_handle_[instruction];
  if (call.product && make(*call.product, tensors))
    return;
  // The interface is not const-correct: ints and handles are only read.
  check(cshim().call_proxy(parts_.proxy, call.node, static_cast<int>(call.ints.size()),
                           const_cast<std::int64_t*>(call.ints.data()),
                           static_cast<int>(call.tensors.size()), tensors));
}

// False when torch has to make the call; its result has memory then, too.
bool Context::make(const RowProduct& product, const TensorHandle* operands) {
  const TensorHandle* bias = operands;
  const TensorHandle* rest = product.has_bias ? operands + 1 : operands;
  if (product.allocates) {
    const Layout layout{cshim().float32, {1, product.n_rows}, {product.n_rows, 1}};
    check(cshim().assign_tensor(Tensor::empty(layout).get(), rest[2]));
  }
  std::uint32_t n_threads = 0;
  check(cshim().num_threads(&n_threads));
  const RowProductData data{static_cast<const float*>(address_of(rest[1])),
                            static_cast<const float*>(address_of(rest[0])),
                            product.has_bias ? static_cast<const float*>(address_of(*bias))
                                             : nullptr,
                            static_cast<float*>(address_of(rest[2]))};
  if (n_threads != product.n_threads || !is_aligned(data))
    return false;
  multiply(product, data);
  return true;
}

void Context::make(const DispatcherCall& call) {
  StableValue stack[kStackSize];
  if (std::max(call.arguments.size(), call.results.size()) > kStackSize)
    throw std::runtime_error("a call has more than 64 arguments");
  for (std::size_t i = 0; i < call.arguments.size(); ++i)
    stack[i] = build(call.arguments[i]);
  const CShim& torch = cshim();
  check(torch.call_dispatcher(call.op.c_str(), call.overload.c_str(), stack, torch.abi_version()));
  for (std::size_t i = 0; i < call.results.size(); ++i) {
    const Result& result = call.results[i];
    if (result.is_list)
      store_list(result, reinterpret_cast<StableListHandle>(stack[i]));
    else
      store(result.registers[0], Tensor(reinterpret_cast<TensorHandle>(stack[i])));
  }
}

void Context::make(const ForeignCall& call) {
  std::vector<TensorHandle> operands(call.operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i)
    operands[i] = registers_[call.operands[i]];
  const std::vector<Tensor> results = call.function->call(operands);
  if (results.size() != call.results.size())
    throw std::runtime_error("returned " + std::to_string(results.size()) + " tensors where " +
                             std::to_string(call.results.size()) + " were traced");
  for (std::size_t i = 0; i < results.size(); ++i)
    store(call.results[i], results[i]);
}

// The dispatcher takes over every handle, list and optional that a slot holds.
StableValue Context::build(const Argument& argument) const {
  switch (argument.kind) {
  case Argument::Kind::kBits:
    return argument.bits;
  case Argument::Kind::kTensor:
    return reinterpret_cast<StableValue>(share(argument.tensor).release());
  case Argument::Kind::kNone:
    return 0;
  case Argument::Kind::kSome: {
    StableValue* box = nullptr;
    check(cshim().new_stable_value(&box));
    *box = build(argument.items[0]);
    return reinterpret_cast<StableValue>(box);
  }
  case Argument::Kind::kList:
    return build_list(argument);
  }
  throw std::invalid_argument("an argument has no kind");
}

StableValue Context::build_list(const Argument& argument) const {
  StableListHandle list = nullptr;
  check(cshim().new_list(argument.items.size(), &list));
  for (const Argument& item : argument.items)
    check(cshim().list_push_back(list, build(item)));
  return reinterpret_cast<StableValue>(list);
}

void Context::store(Register index, const Tensor& value) noexcept {
  if (index != kNoRegister)
    cshim().assign_tensor(value.get(), registers_[index]);
}

void Context::store_list(const Result& result, StableListHandle list) {
  const CShim& torch = cshim();
  std::vector<Tensor> tensors;
  std::size_t size = 0;
  check(torch.list_size(list, &size));
  for (std::size_t i = 0; i < size; ++i) {
    StableValue item = 0;
    check(torch.list_get(list, i, &item));
    tensors.emplace_back(reinterpret_cast<TensorHandle>(item));
  }
  check(torch.delete_list(list));
  if (size != result.registers.size())
    throw std::runtime_error("returned a list of " + std::to_string(size) + " tensors where " +
                             std::to_string(result.registers.size()) + " were traced");
  for (std::size_t i = 0; i < size; ++i)
    store(result.registers[i], tensors[i]);
}

void Context::drop(std::span<const Register> indices) noexcept {
  for (Register index : indices)
    if (index >= first_temporary_ && !is_fixed_[index])
      cshim().assign_tensor(undefined_.get(), registers_[index]);
}

void Context::drop_all() noexcept {
  for (std::size_t index = first_temporary_; index < registers_.size(); ++index)
    if (!is_fixed_[index])
      cshim().assign_tensor(undefined_.get(), registers_[index]);
}

} // namespace torchair::program
