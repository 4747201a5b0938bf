// The calls a program is made of. Tensors are named by register index.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "program/tensor.h"

namespace torchair::program {

using Register = std::uint32_t;
inline constexpr Register kNoRegister = UINT32_MAX; // a result that nobody reads

// A call through torch's proxy executor. The static arguments live in its node; tensors and ints
// are passed with every call. The executor borrows the operands and assigns into the result
// registers.
struct ProxyCall {
  int node;
  std::vector<std::int64_t> ints;
  std::vector<Register> tensors; // operands in schema order, then one per tensor result
};

// One argument of a dispatcher call: how to build its stack slot anew for every call.
struct Argument {
  enum class Kind {
    kBits,   // int, float, bool, dtype, layout, memory format or device, as 64 bits
    kTensor, // a register
    kNone,   // an absent optional
    kSome,   // a present optional: items holds its value
    kList,   // items hold the elements
  };
  Kind kind;
  std::uint64_t bits = 0;
  Register tensor = kNoRegister;
  std::vector<Argument> items = {};
};

// One value that a dispatcher call returns: a tensor, or a list of tensors.
struct Result {
  bool is_list;
  std::vector<Register> registers;
};

// A call through the stable dispatcher, which looks the operator up by name every time.
struct DispatcherCall {
  std::string op;
  std::string overload;
  std::vector<Argument> arguments;
  std::vector<Result> results;
};

// Code outside this executor, e.g. a Python function.
class ForeignFunction {
public:
  virtual ~ForeignFunction() = default;
  // Returns one tensor per result. Operands are borrowed. Reports failure by an exception.
  virtual std::vector<Tensor> call(std::span<const TensorHandle> operands) = 0;
};

struct ForeignCall {
  std::unique_ptr<ForeignFunction> function;
  std::vector<Register> operands;
  std::vector<Register> results;
};

struct Instruction {
  std::variant<ProxyCall, DispatcherCall, ForeignCall> call;
  std::vector<Register> frees; // registers whose last use this is
};

} // namespace torchair::program
