// RUN: torchair-opt %s -p fuse-activation --split-input-file | filecheck %s

// CHECK-LABEL: @gelu_by_erf
// CHECK-NEXT: aten.gelu(%x) : (tensor<4xf32>) -> tensor<4xf32>
// CHECK-NEXT: func.return
func.func @gelu_by_erf(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.mul.Tensor(%x, 0.5) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.div.Tensor(%x, 1.4142135623730951) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.erf(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.add.Tensor(%2, 1.0) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = aten.mul.Tensor(%0, %3) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %4 : tensor<4xf32>
}

// -----

// CHECK-LABEL: @gelu_by_tanh
// CHECK-NEXT: aten.gelu(%x, approximate = "tanh") : (tensor<4xf16>) -> tensor<4xf16>
// CHECK-NEXT: func.return
func.func @gelu_by_tanh(%x: tensor<4xf16>) -> tensor<4xf16> {
  %0 = aten.mul.Tensor(%x, 0.5) : (tensor<4xf16>) -> tensor<4xf16>
  %1 = aten.pow.Tensor_Scalar(%x, exponent = 3.0) : (tensor<4xf16>) -> tensor<4xf16>
  %2 = aten.mul.Tensor(%1, 0.044715) : (tensor<4xf16>) -> tensor<4xf16>
  %3 = aten.add.Tensor(%x, %2) : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
  %4 = aten.mul.Tensor(%3, 0.7978845608028654) : (tensor<4xf16>) -> tensor<4xf16>
  %5 = aten.tanh(%4) : (tensor<4xf16>) -> tensor<4xf16>
  %6 = aten.add.Tensor(%5, 1.0) : (tensor<4xf16>) -> tensor<4xf16>
  %7 = aten.mul.Tensor(%0, %6) : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xf16>
  func.return %7 : tensor<4xf16>
}

// -----

// CHECK-LABEL: @silu
// CHECK-NEXT: aten.silu(%x)
// CHECK-NEXT: func.return
func.func @silu(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.sigmoid(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.mul.Tensor(%x, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// CHECK-LABEL: @negative_other_gate
// CHECK: aten.sigmoid
func.func @negative_other_gate(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.sigmoid(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.mul.Tensor(%y, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// A quarter, not a half.
// CHECK-LABEL: @negative_other_constant
// CHECK: aten.erf
func.func @negative_other_constant(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.mul.Tensor(%x, 0.25) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.div.Tensor(%x, 1.4142135623730951) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.erf(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.add.Tensor(%2, 1.0) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = aten.mul.Tensor(%0, %3) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %4 : tensor<4xf32>
}

// -----

// CHECK-LABEL: @negative_double
// CHECK: aten.sigmoid
func.func @negative_double(%x: tensor<4xf64>) -> tensor<4xf64> {
  %0 = aten.sigmoid(%x) : (tensor<4xf64>) -> tensor<4xf64>
  %1 = aten.mul.Tensor(%x, %0) : (tensor<4xf64>, tensor<4xf64>) -> tensor<4xf64>
  func.return %1 : tensor<4xf64>
}
