// RUN: torchair-opt %s -p fuse-layer-norm --split-input-file | filecheck %s

// CHECK-LABEL: @by_mean
// CHECK-NEXT: aten.native_layer_norm(%x, normalized_shape = [8], weight = %w, bias = %b, eps = 1.0e-05)
// CHECK-NEXT: func.return
func.func @by_mean(%x: tensor<4x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %0 = aten.mean.dim(%x, dim = [-1], keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %1 = aten.sub.Tensor(%x, %0) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %2 = aten.pow.Tensor_Scalar(%1, exponent = 2) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %3 = aten.mean.dim(%2, dim = [-1], keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %4 = aten.add.Tensor(%3, 1.0e-05) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %5 = aten.rsqrt(%4) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %6 = aten.mul.Tensor(%1, %5) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %7 = aten.mul.Tensor(%6, %w) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %8 = aten.add.Tensor(%7, %b) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  func.return %8 : tensor<4x8xf32>
}

// -----

// The variance divides by one less than the size.
// CHECK-LABEL: @negative_unbiased_variance
// CHECK: aten.var.correction
func.func @negative_unbiased_variance(%x: tensor<4x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %0 = aten.mean.dim(%x, dim = [-1], keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %1 = aten.sub.Tensor(%x, %0) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %3 = aten.var.correction(%x, dim = [-1], correction = 1, keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %4 = aten.add.Tensor(%3, 1.0e-05) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %5 = aten.rsqrt(%4) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %6 = aten.mul.Tensor(%1, %5) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %7 = aten.mul.Tensor(%6, %w) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %8 = aten.add.Tensor(%7, %b) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  func.return %8 : tensor<4x8xf32>
}
