// RUN: torchair-opt %s -p fold-constants,dce --split-input-file | filecheck %s

// CHECK-LABEL: func.func @range_of_positions
// CHECK-NEXT: aten.constant(value = dense<{{\[\[}}0.000000e+00, 5.000000e-01, 1.000000e+00]]> : tensor<1x3xf32>) : () -> tensor<1x3xf32>
// CHECK-NEXT: aten.mul.Tensor(%x, %0)
func.func @range_of_positions(%x: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %0 = aten.arange(end = 3) : () -> tensor<3xi64>
  %1 = aten.unsqueeze(%0, dim = 0) : (tensor<3xi64>) -> tensor<1x3xi64>
  %2 = aten._to_copy(%1, dtype = f32) : (tensor<1x3xi64>) -> tensor<1x3xf32>
  %3 = aten.div.Tensor(%2, 2) : (tensor<1x3xf32>) -> tensor<1x3xf32>
  %4 = aten.mul.Tensor(%x, %3) : (tensor<1x3xf32>, tensor<1x3xf32>) -> tensor<1x3xf32>
  func.return %4 : tensor<1x3xf32>
}

// -----

// CHECK-LABEL: func.func @fills
// CHECK-NEXT: dense<1> : tensor<2x2xi64>
// CHECK-NEXT: dense<true> : tensor<2xi1>
// CHECK-NEXT: dense<0xff800000> : tensor<f32>
// CHECK-NEXT: aten.add.Tensor
// CHECK-NEXT: aten.logical_not
// CHECK-NEXT: aten.relu
func.func @fills(%x: tensor<2x2xi64>) -> (tensor<2x2xi64>, tensor<2xi1>, tensor<f32>) {
  %0 = aten.ones(size = [1, 2], dtype = i64) : () -> tensor<1x2xi64>
  %1 = aten.expand(%0, size = [2, 2]) : (tensor<1x2xi64>) -> tensor<2x2xi64>
  %2 = aten.full(size = [2], fill_value = true, dtype = i1) : () -> tensor<2xi1>
  %3 = aten.scalar_tensor(s = -inf, dtype = f32) : () -> tensor<f32>
  %4 = aten.add.Tensor(%x, %1) : (tensor<2x2xi64>, tensor<2x2xi64>) -> tensor<2x2xi64>
  %5 = aten.logical_not(%2) : (tensor<2xi1>) -> tensor<2xi1>
  %6 = aten.relu(%3) : (tensor<f32>) -> tensor<f32>
  func.return %4, %5, %6 : tensor<2x2xi64>, tensor<2xi1>, tensor<f32>
}

// -----

// The caller may write what it gets, and a write here must not reach the constant.
// CHECK-LABEL: func.func @negative_returned_or_written
// CHECK-NEXT: aten.zeros
// CHECK-NEXT: aten.zeros
// CHECK-NEXT: aten.copy_
func.func @negative_returned_or_written(%x: tensor<2xf32>) -> tensor<2xf32> {
  %0 = aten.zeros(size = [2]) : () -> tensor<2xf32>
  %1 = aten.zeros(size = [2]) : () -> tensor<2xf32>
  %2 = aten.copy_(%1, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %0 : tensor<2xf32>
}

// -----

// Too large, of unknown size, a range of floats, and a function that Python does not round as torch.
// CHECK-LABEL: func.func @negative_not_folded
// CHECK-NEXT: aten.zeros
// CHECK-NEXT: aten.ones(size = [%s]
// CHECK-NEXT: aten.arange(end = 1.0)
// CHECK-NEXT: aten.constant
// CHECK-NEXT: aten.exp
func.func @negative_not_folded(%s: i64) -> (tensor<129xf32>, tensor<?xf32>, tensor<1xf32>, tensor<2xf32>) {
  %0 = aten.zeros(size = [129]) : () -> tensor<129xf32>
  %1 = aten.ones(size = [%s]) : (i64) -> tensor<?xf32>
  %2 = aten.arange(end = 1.0) : () -> tensor<1xf32>
  %3 = aten.constant(value = dense<[1.0, 2.0]> : tensor<2xf32>) : () -> tensor<2xf32>
  %4 = aten.exp(%3) : (tensor<2xf32>) -> tensor<2xf32>
  %5 = aten.neg(%0) : (tensor<129xf32>) -> tensor<129xf32>
  %6 = aten.neg(%1) : (tensor<?xf32>) -> tensor<?xf32>
  %7 = aten.neg(%2) : (tensor<1xf32>) -> tensor<1xf32>
  func.return %5, %6, %7, %4 : tensor<129xf32>, tensor<?xf32>, tensor<1xf32>, tensor<2xf32>
}
