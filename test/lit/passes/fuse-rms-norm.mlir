// RUN: torchair-opt -p fuse-rms-norm --split-input-file %s | filecheck %s

// CHECK-LABEL: @float
func.func @float(%x: tensor<2x4x8xf32>, %w: tensor<8xf32>) -> tensor<2x4x8xf32> {
  %0 = aten.pow.Tensor_Scalar(%x, exponent = 2) : (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %1 = aten.mean.dim(%0, dim = [-1], keepdim = true) : (tensor<2x4x8xf32>) -> tensor<2x4x1xf32>
  %2 = aten.add.Tensor(%1, 1.000000e-06) : (tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
  %3 = aten.rsqrt(%2) : (tensor<2x4x1xf32>) -> tensor<2x4x1xf32>
  %4 = aten.mul.Tensor(%x, %3) : (tensor<2x4x8xf32>, tensor<2x4x1xf32>) -> tensor<2x4x8xf32>
  // CHECK-NOT: aten
  // CHECK: %[[Y:.*]], %{{.*}} = npu.npu_rms_norm(%x, %w) : {{.*}} -> (tensor<2x4x8xf32>, tensor<2x4x1xf32>)
  %5 = aten.mul.Tensor(%w, %4) : (tensor<8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  func.return %5 : tensor<2x4x8xf32>
}

// -----

// The half precision form of language models: float32 inside, the weight last; symbols are kept.
// CHECK-LABEL: @half_with_casts
func.func @half_with_casts(%x: tensor<?x8xbf16, ["s0", "8"]>, %w: tensor<8xbf16>) -> tensor<?x8xbf16, ["s0", "8"]> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<?x8xbf16, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %1 = aten.mul.Tensor(%0, %0) : (tensor<?x8xf32, ["s0", "8"]>, tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %2 = aten.mean.dim(%1, dim = [1], keepdim = true) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x1xf32, ["s0", "1"]>
  %3 = aten.add.Scalar(%2, 1.000000e-05) : (tensor<?x1xf32, ["s0", "1"]>) -> tensor<?x1xf32, ["s0", "1"]>
  %4 = aten.sqrt(%3) : (tensor<?x1xf32, ["s0", "1"]>) -> tensor<?x1xf32, ["s0", "1"]>
  %5 = aten.div.Tensor(%0, %4) : (tensor<?x8xf32, ["s0", "8"]>, tensor<?x1xf32, ["s0", "1"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %6 = aten._to_copy(%5, dtype = bf16) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xbf16, ["s0", "8"]>
  // CHECK-NOT: aten
  // CHECK: npu.npu_rms_norm(%x, %w, epsilon = 1.0e-05) : {{.*}} -> (tensor<?x8xbf16, ["s0", "8"]>, tensor<?x1xf32, ["s0", "1"]>)
  %7 = aten.mul.Tensor(%6, %w) : (tensor<?x8xbf16, ["s0", "8"]>, tensor<8xbf16>) -> tensor<?x8xbf16, ["s0", "8"]>
  func.return %7 : tensor<?x8xbf16, ["s0", "8"]>
}

// -----

// The sum is used again, as the residual: the fused operator gives it too.
// CHECK-LABEL: @residual_add
func.func @residual_add(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>, %w: tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %x = aten.add.Tensor(%a, %b) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  %y, %r = npu.npu_rms_norm(%x, %w) : (tensor<4x8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4x1xf32>)
  // CHECK: %[[Y:.*]], %{{.*}}, %[[X:.*]] = npu.npu_add_rms_norm(%a, %b, %w)
  // CHECK-NEXT: func.return %[[X]], %[[Y]]
  func.return %x, %y : tensor<4x8xf32>, tensor<4x8xf32>
}

// -----

// CHECK-LABEL: @negative_other_dim
func.func @negative_other_dim(%x: tensor<8x8xf32>, %w: tensor<8xf32>) -> tensor<8x8xf32> {
  %0 = aten.pow.Tensor_Scalar(%x, exponent = 2) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = aten.mean.dim(%0, dim = [0], keepdim = true) : (tensor<8x8xf32>) -> tensor<1x8xf32>
  %2 = aten.add.Tensor(%1, 1.000000e-06) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %3 = aten.rsqrt(%2) : (tensor<1x8xf32>) -> tensor<1x8xf32>
  %4 = aten.mul.Tensor(%x, %3) : (tensor<8x8xf32>, tensor<1x8xf32>) -> tensor<8x8xf32>
  // CHECK-NOT: npu
  // CHECK: aten.rsqrt
  %5 = aten.mul.Tensor(%4, %w) : (tensor<8x8xf32>, tensor<8xf32>) -> tensor<8x8xf32>
  func.return %5 : tensor<8x8xf32>
}

// -----

// The reciprocal root is used elsewhere: it has to be computed anyway.
// CHECK-LABEL: @negative_used_outside
func.func @negative_used_outside(%x: tensor<4x8xf32>, %w: tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4x1xf32>) {
  %0 = aten.pow.Tensor_Scalar(%x, exponent = 2) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = aten.mean.dim(%0, dim = [-1], keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %2 = aten.add.Tensor(%1, 1.000000e-06) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %3 = aten.rsqrt(%2) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %4 = aten.mul.Tensor(%x, %3) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  // CHECK-NOT: npu
  // CHECK: aten.rsqrt
  %5 = aten.mul.Tensor(%4, %w) : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  func.return %5, %3 : tensor<4x8xf32>, tensor<4x1xf32>
}
