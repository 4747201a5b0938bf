// RUN: torchair-opt %s -p promote-dtypes --split-input-file | filecheck %s

// CHECK-LABEL: func.func @arithmetic
// CHECK-NEXT: %0 = prims.convert_element_type(%x, dtype = f32) : (tensor<4xbf16>) -> tensor<4xf32>
// CHECK-NEXT: aten.add.Tensor(%0, %y, alpha = 2)
func.func @arithmetic(%x: tensor<4xbf16>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.add.Tensor(%x, %y, alpha = 2) : (tensor<4xbf16>, tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// A 0-d double does not widen a tensor with dimensions.
// CHECK-LABEL: func.func @zero_dim_operand
// CHECK-NEXT: %0 = prims.convert_element_type(%z, dtype = f32) : (tensor<f64>) -> tensor<f32>
// CHECK-NEXT: aten.mul.Tensor(%x, %0)
func.func @zero_dim_operand(%x: tensor<?xf32, ["s0"]>, %z: tensor<f64>) -> tensor<?xf32, ["s0"]> {
  %0 = aten.mul.Tensor(%x, %z) : (tensor<?xf32, ["s0"]>, tensor<f64>) -> tensor<?xf32, ["s0"]>
  func.return %0 : tensor<?xf32, ["s0"]>
}

// -----

// CHECK-LABEL: func.func @number_among_integers
// CHECK-NEXT: %0 = prims.convert_element_type(%x, dtype = f32) : (tensor<4xi64>) -> tensor<4xf32>
// CHECK-NEXT: aten.mul.Tensor(%0, 2.5)
func.func @number_among_integers(%x: tensor<4xi64>) -> tensor<4xf32> {
  %0 = aten.mul.Tensor(%x, 2.5) : (tensor<4xi64>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @negative_number_of_a_lower_kind
// CHECK-NEXT: aten.mul.Tensor(%x, 2.5) : (tensor<4xbf16>) -> tensor<4xbf16>
func.func @negative_number_of_a_lower_kind(%x: tensor<4xbf16>) -> tensor<4xbf16> {
  %0 = aten.mul.Tensor(%x, 2.5) : (tensor<4xbf16>) -> tensor<4xbf16>
  func.return %0 : tensor<4xbf16>
}

// -----

// CHECK-LABEL: func.func @symbolic_scalar
// CHECK-NEXT: %0 = aten.scalar_tensor(s = %s, dtype = f32) : (i64) -> tensor<f32>
// CHECK-NEXT: aten.div.Tensor(%x, %0)
func.func @symbolic_scalar(%x: tensor<4xf32>, %s: i64) -> tensor<4xf32> {
  %0 = aten.div.Tensor(%x, %s) : (tensor<4xf32>, i64) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @float_functions_of_integers
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: aten.sigmoid
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: prims.convert_element_type(%y, dtype = f32)
// CHECK-NEXT: aten.div.Tensor
func.func @float_functions_of_integers(%x: tensor<4xi32>, %y: tensor<4xi1>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = aten.sigmoid(%x) : (tensor<4xi32>) -> tensor<4xf32>
  %1 = aten.div.Tensor(%x, %y) : (tensor<4xi32>, tensor<4xi1>) -> tensor<4xf32>
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @comparisons
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: aten.gt.Scalar(%0, other = 2.5) : (tensor<4xf32>) -> tensor<4xi1>
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f16)
// CHECK-NEXT: aten.eq.Tensor(%2, %h) : (tensor<4xf16>, tensor<4xf16>) -> tensor<4xi1>
// CHECK-NEXT: aten.lt.Scalar(%h, other = 3)
func.func @comparisons(%x: tensor<4xi64>, %h: tensor<4xf16>) -> (tensor<4xi1>, tensor<4xi1>, tensor<4xi1>) {
  %0 = aten.gt.Scalar(%x, other = 2.5) : (tensor<4xi64>) -> tensor<4xi1>
  %1 = aten.eq.Tensor(%x, %h) : (tensor<4xi64>, tensor<4xf16>) -> tensor<4xi1>
  %2 = aten.lt.Scalar(%h, other = 3) : (tensor<4xf16>) -> tensor<4xi1>
  func.return %0, %1, %2 : tensor<4xi1>, tensor<4xi1>, tensor<4xi1>
}

// -----

// The default float type decides what a Python float is among integers.
// RUN: torchair-opt %s -p "promote-dtypes{default-float=float64}" --split-input-file | filecheck %s --check-prefix=DOUBLE
// DOUBLE-LABEL: func.func @comparison_with_default_float
// DOUBLE-NEXT: prims.convert_element_type(%x, dtype = f64)
func.func @comparison_with_default_float(%x: tensor<4xi64>) -> tensor<4xi1> {
  %0 = aten.gt.Scalar(%x, other = 2.5) : (tensor<4xi64>) -> tensor<4xi1>
  func.return %0 : tensor<4xi1>
}

// -----

// Rounding a 0-d double to float32 may make it zero, so it is rounded before it is tested.
// CHECK-LABEL: func.func @logic
// CHECK-NEXT: prims.convert_element_type(%x, dtype = i1)
// CHECK-NEXT: prims.convert_element_type(%z, dtype = f32) : (tensor<f64>) -> tensor<f32>
// CHECK-NEXT: prims.convert_element_type(%1, dtype = i1) : (tensor<f32>) -> tensor<i1>
// CHECK-NEXT: aten.logical_and(%0, %2)
// CHECK-NEXT: prims.convert_element_type(%x, dtype = i1)
// CHECK-NEXT: aten.any.dim(%4, dim = 0)
func.func @logic(%x: tensor<4xf32>, %z: tensor<f64>) -> (tensor<4xi1>, tensor<i1>) {
  %0 = aten.logical_and(%x, %z) : (tensor<4xf32>, tensor<f64>) -> tensor<4xi1>
  %1 = aten.any.dim(%x, dim = 0) : (tensor<4xf32>) -> tensor<i1>
  func.return %0, %1 : tensor<4xi1>, tensor<i1>
}

// -----

// The condition keeps its type.
// CHECK-LABEL: func.func @where
// CHECK-NEXT: %0 = prims.convert_element_type(%i, dtype = f16)
// CHECK-NEXT: aten.where.self(%c, %0, %h)
func.func @where(%c: tensor<4xi1>, %i: tensor<4xi32>, %h: tensor<4xf16>) -> tensor<4xf16> {
  %0 = aten.where.self(%c, %i, %h) : (tensor<4xi1>, tensor<4xi32>, tensor<4xf16>) -> tensor<4xf16>
  func.return %0 : tensor<4xf16>
}

// -----

// CHECK-LABEL: func.func @masked_fill
// CHECK-NEXT: %0 = prims.convert_element_type(%v, dtype = f16) : (tensor<f32>) -> tensor<f16>
// CHECK-NEXT: aten.masked_fill.Tensor(%h, %m, %0)
func.func @masked_fill(%h: tensor<4xf16>, %m: tensor<4xi1>, %v: tensor<f32>) -> tensor<4xf16> {
  %0 = aten.masked_fill.Tensor(%h, %m, %v) : (tensor<4xf16>, tensor<4xi1>, tensor<f32>) -> tensor<4xf16>
  func.return %0 : tensor<4xf16>
}

// -----

// CHECK-LABEL: func.func @cat
// CHECK-NEXT: %0 = prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: aten.cat([%0, %y])
func.func @cat(%x: tensor<4xi64>, %y: tensor<4xf32>) -> tensor<8xf32> {
  %0 = aten.cat([%x, %y]) : (tensor<4xi64>, tensor<4xf32>) -> tensor<8xf32>
  func.return %0 : tensor<8xf32>
}

// -----

// The written operand is never converted.
// CHECK-LABEL: func.func @write
// CHECK-NEXT: %0 = prims.convert_element_type(%y, dtype = bf16)
// CHECK-NEXT: aten.copy_(%x, %0)
func.func @write(%x: tensor<4xbf16>, %y: tensor<4xf32>) {
  %0 = aten.copy_(%x, %y) : (tensor<4xbf16>, tensor<4xf32>) -> tensor<4xbf16>
  func.return
}

// -----

// CHECK-LABEL: func.func @reductions
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: aten.mean.dim(%0, dim = [0]) : (tensor<4xf32>) -> tensor<f32>
func.func @reductions(%x: tensor<4xbf16>) -> tensor<f32> {
  %0 = aten.mean.dim(%x, dim = [0], dtype = f32) : (tensor<4xbf16>) -> tensor<f32>
  func.return %0 : tensor<f32>
}

// -----

// Only a sum that is not int64 by nature needs its dtype.
// CHECK-LABEL: func.func @sums_of_integers
// CHECK-NEXT: prims.convert_element_type(%b, dtype = i64)
// CHECK-NEXT: aten.sum(%0) : (tensor<4xi64>) -> tensor<i64>
// CHECK-NEXT: aten.sum(%i, dtype = i32) : (tensor<4xi32>) -> tensor<i32>
func.func @sums_of_integers(%b: tensor<4xi1>, %i: tensor<4xi32>) -> (tensor<i64>, tensor<i32>) {
  %0 = aten.sum(%b) : (tensor<4xi1>) -> tensor<i64>
  %1 = aten.sum(%i, dtype = i32) : (tensor<4xi32>) -> tensor<i32>
  func.return %0, %1 : tensor<i64>, tensor<i32>
}

// -----

// CHECK-LABEL: func.func @softmax
// CHECK-NEXT: %0 = prims.convert_element_type(%x, dtype = f32)
// CHECK-NEXT: aten._softmax(%0, dim = 0, half_to_float = false) : (tensor<4xf32>) -> tensor<4xf32>
func.func @softmax(%x: tensor<4xf16>) -> tensor<4xf32> {
  %0 = aten._softmax(%x, dim = 0, half_to_float = true) : (tensor<4xf16>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// Operators that take several types by design are left alone.
// CHECK-LABEL: func.func @negative_no_promotion
// CHECK-NEXT: aten.native_layer_norm(%x, normalized_shape = [4], weight = %w, bias = %w, eps = 1.0e-05
// CHECK-NEXT: aten.abs
// CHECK-NEXT: aten.isnan
// CHECK-NEXT: aten.clone
// CHECK-NEXT: func.return
func.func @negative_no_promotion(%x: tensor<2x4xbf16>, %w: tensor<4xf32>, %c: tensor<complex<f32>>) {
  %0, %1, %2 = aten.native_layer_norm(%x, normalized_shape = [4], weight = %w, bias = %w, eps = 1.0e-05) : (tensor<2x4xbf16>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xbf16>, tensor<2x1xf32>, tensor<2x1xf32>)
  %3 = aten.abs(%c) : (tensor<complex<f32>>) -> tensor<f32>
  %4 = aten.isnan(%x) : (tensor<2x4xbf16>) -> tensor<2x4xi1>
  %5 = aten.clone(%x) : (tensor<2x4xbf16>) -> tensor<2x4xbf16>
  func.return
}
