#include "program/context.h"

#include <algorithm>
#include <stdexcept>

namespace torchair::program {

Context::Context(std::size_t n_inputs, std::span<const Tensor> constants, std::size_t n_temporaries)
    : n_inputs_(n_inputs), first_temporary_(n_inputs + constants.size()),
      undefined_(Tensor::undefined()) {
  registers_.assign(first_temporary_ + n_temporaries, nullptr);
  for (std::size_t i = 0; i < constants.size(); ++i)
    registers_[n_inputs + i] = constants[i].get();
  temporaries_.reserve(n_temporaries);
  for (std::size_t i = 0; i < n_temporaries; ++i) {
    temporaries_.push_back(Tensor::undefined());
    registers_[first_temporary_ + i] = temporaries_.back().get();
  }
}

void Context::bind(std::span<const Tensor> inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i)
    registers_[i] = inputs[i].get();
}

void Context::unbind() noexcept { std::fill_n(registers_.begin(), n_inputs_, nullptr); }

void Context::execute(const ProxyCall& call, ProxyHandle proxy) {
  handles_.resize(call.tensors.size());
  for (std::size_t i = 0; i < call.tensors.size(); ++i)
    handles_[i] = registers_[call.tensors[i]];
  // The interface is not const-correct: the ints are only read.
  check(cshim().call_proxy(proxy, call.node, static_cast<int>(call.ints.size()),
                           const_cast<std::int64_t*>(call.ints.data()),
                           static_cast<int>(handles_.size()), handles_.data()));
}

void Context::execute(const DispatcherCall& call) {
  stack_.resize(std::max(call.arguments.size(), call.results.size()));
  for (std::size_t i = 0; i < call.arguments.size(); ++i)
    stack_[i] = build(call.arguments[i]);
  const CShim& torch = cshim();
  check(torch.call_dispatcher(call.op.c_str(), call.overload.c_str(), stack_.data(),
                              torch.abi_version()));
  for (std::size_t i = 0; i < call.results.size(); ++i) {
    const Result& result = call.results[i];
    if (result.is_list)
      store_list(result, reinterpret_cast<StableListHandle>(stack_[i]));
    else
      store(result.registers[0], Tensor(reinterpret_cast<TensorHandle>(stack_[i])));
  }
}

void Context::execute(const ForeignCall& call) {
  // Not the shared scratch: foreign code may run other programs, or this one, meanwhile.
  std::vector<TensorHandle> operands(call.operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i)
    operands[i] = registers_[call.operands[i]];
  std::vector<Tensor> results = call.function->call(operands);
  if (results.size() != call.results.size())
    throw std::runtime_error("returned " + std::to_string(results.size()) + " tensors where " +
                             std::to_string(call.results.size()) + " were traced");
  for (std::size_t i = 0; i < results.size(); ++i)
    store(call.results[i], std::move(results[i]));
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

void Context::store(Register index, Tensor value) {
  if (index == kNoRegister)
    return;
  Tensor& target = temporaries_[index - first_temporary_];
  target = std::move(value);
  registers_[index] = target.get();
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
    store(result.registers[i], std::move(tensors[i]));
}

void Context::drop(std::span<const Register> indices) noexcept {
  for (Register index : indices)
    if (index >= first_temporary_)
      cshim().assign_tensor(undefined_.get(), registers_[index]);
}

void Context::drop_all() noexcept {
  for (const Tensor& temporary : temporaries_)
    cshim().assign_tensor(undefined_.get(), temporary.get());
}

} // namespace torchair::program
