// RUN: torchair-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: :[[# @LINE + 3]]:
// CHECK: too many arguments for aten::relu(Tensor self) -> Tensor
func.func @too_many(%x: tensor<4xf32>) {
  %0 = aten.relu(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: unknown argument 'inplace' of aten::relu(Tensor self) -> Tensor
func.func @unknown_argument(%x: tensor<4xf32>) {
  %0 = aten.relu(%x, inplace = true) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: argument 'dim' given twice
func.func @argument_given_twice(%x: tensor<4xf32>) {
  %0 = aten.sum.dim_IntList(%x, dim = [0], dim = [0]) : (tensor<4xf32>) -> tensor<f32>
  func.return
}

// -----

// CHECK: expected 'name = value' in aten::relu
func.func @bare_word(%x: tensor<4xf32>) {
  %0 = aten.relu(x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: Operation aten.no_such_op is not registered
func.func @unknown_operator(%x: tensor<4xf32>) {
  %0 = aten.no_such_op(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: 2 operands, but 1 operand types
func.func @operand_types(%x: tensor<4xf32>) {
  %0 = aten.add.Tensor(%x, %x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: 'aten.add.Tensor' is malformed: argument 'other' of aten::add.Tensor(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor is missing
// CHECK-NEXT: operator: aten.add.Tensor (from add_3-aten.add.Tensor)
// CHECK-NEXT: source:   model.py:7
// CHECK-NEXT: Try:
func.func @missing_argument(%x: tensor<4xf32>) {
  %0 = aten.add.Tensor(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("add_3-aten.add.Tensor"("model.py":7:0))
  func.return
}

// -----

// CHECK: argument 'dim' of aten::sum.dim_IntList{{.*}} must be a list of int, got 5.000000e-01 : f64
func.func @list_of_another_kind(%x: tensor<4xf32>) {
  %0 = aten.sum.dim_IntList(%x, dim = [0.5]) : (tensor<4xf32>) -> tensor<f32>
  func.return
}

// -----

// CHECK: argument 'alpha' of aten::add.Tensor{{.*}} must be number, got "two"
func.func @static_of_another_kind(%x: tensor<4xf32>) {
  %0 = aten.add.Tensor(%x, %x, alpha = "two") : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: argument 'self' of aten::relu(Tensor self) -> Tensor must be a tensor, got f32
func.func @no_tensor(%x: f32) {
  %0 = aten.relu(%x) : (f32) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: argument 'size' of aten::view{{.*}} must be i64, f64 or i1, got tensor<4xf32>
func.func @size_is_a_tensor(%x: tensor<4xf32>) {
  %0 = aten.view(%x, size = [%x]) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: 2 results, 1 in aten::relu(Tensor self) -> Tensor
func.func @results(%x: tensor<4xf32>) {
  %0, %1 = aten.relu(%x) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  func.return
}

// -----

// CHECK: argument 'size' of aten::view{{.*}} has 1 dynamic places and 0 operands
func.func @dynamic_places(%x: tensor<4xf32>) {
  %0 = "aten.view"(%x) <{size = array<i64: -9223372036854775808>}> : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: operandSegmentSizes [1, 1, 1] does not describe 2 operands of aten::linear
func.func @segments(%x: tensor<4xf32>) {
  %0 = "aten.linear"(%x, %x) <{operandSegmentSizes = array<i32: 1, 1, 1>}> : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: unknown argument 'beta' of aten::relu
func.func @unknown_property(%x: tensor<4xf32>) {
  %0 = "aten.relu"(%x) <{beta = 1 : i64}> : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: not an operator schema: 'mylib::broken'
builtin.module attributes {aten.schemas = [#aten.schema<"mylib::broken">]} {
}
