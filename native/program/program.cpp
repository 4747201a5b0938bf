#include "program/program.h"

#include <new>
#include <string>

namespace torchair::program {
namespace {

// Checks that the registers of every call exist and that only temporaries are written.
class RegisterCheck {
public:
  explicit RegisterCheck(const Parts& parts)
      : proxy_(parts.proxy), first_temporary_(parts.n_inputs + parts.constants.size()),
        end_(first_temporary_ + parts.n_temporaries) {}

  void operator()(const ProxyCall& call) const {
    if (proxy_ == nullptr)
      throw std::invalid_argument("a proxy call needs a proxy executor");
    for (Register index : call.tensors)
      read(index);
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

private:
  void write(Register index) const {
    if (index != kNoRegister && (index < first_temporary_ || index >= end_))
      throw std::invalid_argument("register " + std::to_string(index) + " is no temporary");
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

} // namespace

Program::Program(Parts parts) : parts_(std::move(parts)) {
  const RegisterCheck registers(parts_);
  for (const Instruction& instruction : parts_.instructions) {
    std::visit(registers, instruction.call);
    for (Register index : instruction.frees)
      registers.read(index);
  }
  for (Register index : parts_.outputs)
    registers.read(index);
}

// A context for the length of one run, clean again at its end however it ends.
class Program::Lease {
public:
  Lease(const Program& program, std::span<const Tensor> inputs)
      : program_(program), context_(program.take_context()) {
    context_->bind(inputs);
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (finished_)
      context_->drop(program_.parts_.outputs);
    else
      context_->drop_all();
    context_->unbind();
    program_.give_back(std::move(context_));
  }
  Context& context() { return *context_; }
  void finish() { finished_ = true; }

private:
  const Program& program_;
  std::unique_ptr<Context> context_;
  bool finished_ = false;
};

std::vector<Tensor> Program::run(std::vector<Tensor> inputs) const {
  if (inputs.size() != parts_.n_inputs)
    throw std::invalid_argument("the program takes " + std::to_string(parts_.n_inputs) +
                                " inputs, not " + std::to_string(inputs.size()));
  Lease lease(*this, inputs);
  Context& context = lease.context();
  for (std::size_t i = 0; i < parts_.instructions.size(); ++i) {
    try {
      execute(parts_.instructions[i], context);
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      throw OperatorError(i, error.what());
    }
  }
  std::vector<Tensor> outputs;
  outputs.reserve(parts_.outputs.size());
  for (Register index : parts_.outputs)
    outputs.push_back(context.share(index));
  lease.finish();
  return outputs;
}

void Program::execute(const Instruction& instruction, Context& context) const {
  if (const auto* proxy_call = std::get_if<ProxyCall>(&instruction.call))
    context.execute(*proxy_call, parts_.proxy);
  else if (const auto* dispatcher_call = std::get_if<DispatcherCall>(&instruction.call))
    context.execute(*dispatcher_call);
  else
    context.execute(std::get<ForeignCall>(instruction.call));
  context.drop(instruction.frees);
}

std::unique_ptr<Context> Program::take_context() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  return std::make_unique<Context>(parts_.n_inputs, parts_.constants, parts_.n_temporaries);
}

void Program::give_back(std::unique_ptr<Context> context) const noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(context));
}

} // namespace torchair::program
