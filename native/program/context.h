// The registers of one run, and how each kind of call is made on them.
#pragma once

#include <span>
#include <vector>

#include "program/instruction.h"

namespace torchair::program {

// Register numbering: the inputs, then the constants, then the temporaries.
class Context {
public:
  Context(std::size_t n_inputs, std::span<const Tensor> constants, std::size_t n_temporaries);

  // Inputs stay bound until unbind(); the context does not own them.
  void bind(std::span<const Tensor> inputs);
  void unbind() noexcept;

  void execute(const ProxyCall& call, ProxyHandle proxy);
  void execute(const DispatcherCall& call);
  void execute(const ForeignCall& call);

  // Another reference to what the register holds.
  Tensor share(Register index) const { return Tensor::share(registers_[index]); }
  // Drops what temporaries hold. Inputs and constants are left alone.
  void drop(std::span<const Register> indices) noexcept;
  void drop_all() noexcept;

private:
  StableValue build(const Argument& argument) const;
  StableValue build_list(const Argument& argument) const;
  void store(Register index, Tensor value);
  void store_list(const Result& result, StableListHandle list);

  std::size_t n_inputs_;
  std::size_t first_temporary_;
  std::vector<TensorHandle> registers_;
  std::vector<Tensor> temporaries_; // owns registers_[first_temporary_ ...]
  Tensor undefined_;
  std::vector<TensorHandle> handles_; // scratch: the tensors of the current call
  std::vector<StableValue> stack_;    // scratch: the stack of the current dispatcher call
};

} // namespace torchair::program
