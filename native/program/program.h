// An immutable list of ATen calls that runs without Python between them.
#pragma once

#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "program/context.h"

namespace torchair::program {

// A call failed. what() is torch's text.
class OperatorError : public std::runtime_error {
public:
  OperatorError(std::size_t instruction, const std::string& text)
      : std::runtime_error(text), instruction_(instruction) {}
  std::size_t instruction() const noexcept { return instruction_; }

private:
  std::size_t instruction_;
};

struct Parts {
  std::size_t n_inputs = 0;
  std::size_t n_temporaries = 0;
  std::vector<Tensor> constants;
  ProxyHandle proxy = nullptr;
  std::vector<Instruction> instructions;
  std::vector<Register> outputs;
};

class Program {
public:
  // Throws std::invalid_argument for a register out of range, or one that is written but is no
  // temporary, or a proxy call without a proxy.
  explicit Program(Parts parts);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // One tensor per output. Any number of threads may run a program at once: each run has a context
  // of its own. Throws std::invalid_argument for a wrong number of inputs, OperatorError when a
  // call fails; either way nothing is kept alive and later runs work.
  std::vector<Tensor> run(std::vector<Tensor> inputs) const;

private:
  class Lease;
  std::unique_ptr<Context> take_context() const;
  void give_back(std::unique_ptr<Context> context) const noexcept;
  void execute(const Instruction& instruction, Context& context) const;

  Parts parts_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Context>> idle_;
};

} // namespace torchair::program
