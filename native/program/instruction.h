// The calls a program is made of. Tensors are named by register index.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "program/row_product.h"
#include "program/tensor.h"

namespace torchair::program {

using Register = std::uint32_t;
inline constexpr Register kNoRegister = UINT32_MAX; // a result that nobody reads

// A call through torch's proxy executor. The static arguments live in its node; tensors and ints
// are passed with every call. The executor borrows the operands and assigns into the result
// registers. A product is computed without torch, as long as addresses and threads allow it: its
// operands are the bias, if it has one, the vector, the matrix and the result.
struct ProxyCall {
  int node;
  std::vector<std::int64_t> ints;
  std::vector<Register> tensors; // operands in schema order, then one per tensor result
  std::optional<RowProduct> product = {};
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

// Where a call runs. An event is recorded once, before every wait for it in the list of
// instructions; it is recorded after the call and waited for before.
struct Placement {
  std::uint32_t stream = 0;
  std::vector<std::uint32_t> waits = {};
  std::vector<std::uint32_t> records = {};
};

struct Instruction {
  std::variant<ProxyCall, DispatcherCall, ForeignCall> call;
  std::vector<Register> frees; // registers whose last use this is
  Placement placement = {};
};

// A temporary that lives at a fixed place of the arena, `offset` bytes from its begin.
struct ArenaTensor {
  Register index;
  std::int64_t offset;
  Layout layout;
};

// A temporary that is a view of an input or a constant, `offset` bytes from its first element.
struct FixedView {
  Register index;
  Register base;
  std::int64_t offset;
  Layout layout;
};

} // namespace torchair::program
