// RUN: torchair-opt %s --split-input-file --verify-diagnostics | filecheck %s

// CHECK: 'aten.neg' is malformed: %y (result of aten.relu) is used before its definition
// CHECK-NEXT: operator: aten.neg (from neg-aten.neg)
// CHECK-NEXT: source:   model.py:4
// CHECK-NEXT: Try:
func.func @use_before_definition(%x: tensor<4xf32>) {
  %z = aten.neg(%y) : (tensor<4xf32>) -> tensor<4xf32> loc("neg-aten.neg"("model.py":4:0))
  %y = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: 'aten.neg' is malformed: %x (result of aten.neg) is used before its definition
func.func @cycle() {
  %x = aten.neg(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: 'aten.relu' is malformed: the last operation of a block must be a terminator
func.func @no_terminator(%x: tensor<4xf32>) {
  %0 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
}

// -----

// CHECK: Expected arguments to have the same types as the function output types
func.func @returned_type(%x: tensor<4xf32>) -> tensor<5xf32> {
  func.return %x : tensor<4xf32>
}
