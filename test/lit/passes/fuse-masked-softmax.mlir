// RUN: torchair-opt %s -p fuse-masked-softmax,dce --split-input-file | filecheck %s

// CHECK-LABEL: @hidden_scores
// CHECK-NEXT: npu.npu_scaled_masked_softmax(%x, %hidden, scale = 0.125)
// CHECK-NEXT: func.return
func.func @hidden_scores(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -65504.0) : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2 : tensor<2x4x32x64xf16>
}

// -----

// CHECK-LABEL: @softmax_in_float32
// CHECK-NEXT: %[[M:.*]] = aten.logical_not(%shown)
// CHECK-NEXT: %[[E:.*]] = aten.expand(%[[M]], size = [-1, -1, 32, 64])
// CHECK-NEXT: npu.npu_scaled_masked_softmax(%x, %[[E]], scale = 1.0)
// CHECK-NEXT: func.return
func.func @softmax_in_float32(%x: tensor<2x4x32x64xf16>, %shown: tensor<2x1x1x64xi1>) -> tensor<2x4x32x64xf16> {
  %l = aten.scalar_tensor(s = -65504.0, dtype = f16) : () -> tensor<f16>
  %0 = aten.where.self(%shown, %x, %l) : (tensor<2x1x1x64xi1>, tensor<2x4x32x64xf16>, tensor<f16>) -> tensor<2x4x32x64xf16>
  %1 = aten._to_copy(%0, dtype = f32) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf32>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf32>) -> tensor<2x4x32x64xf32>
  %3 = aten._to_copy(%2, dtype = f16) : (tensor<2x4x32x64xf32>) -> tensor<2x4x32x64xf16>
  func.return %3 : tensor<2x4x32x64xf16>
}

// -----

// CHECK-LABEL: @biases_of_heads
// CHECK-NEXT: npu.npu_masked_softmax_with_rel_pos_bias(%x, relative_pos_bias = %bias, scale_value = 0.25)
// CHECK-NEXT: func.return
func.func @biases_of_heads(%x: tensor<6x4x9x9xf32>, %bias: tensor<4x9x9xf32>) -> tensor<6x4x9x9xf32> {
  %0 = aten.div.Tensor(%x, 4.0) : (tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  %1 = aten.add.Tensor(%0, %bias) : (tensor<6x4x9x9xf32>, tensor<4x9x9xf32>) -> tensor<6x4x9x9xf32>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  func.return %2 : tensor<6x4x9x9xf32>
}

// -----

// CHECK-LABEL: @masks_of_windows
// CHECK-NEXT: npu.npu_masked_softmax_with_rel_pos_bias(%x, atten_mask = %mask, relative_pos_bias = %bias)
// CHECK-NEXT: func.return
func.func @masks_of_windows(%x: tensor<6x4x9x9xf32>, %bias: tensor<4x9x9xf32>, %mask: tensor<1x3x1x9x9xf32>) -> tensor<6x4x9x9xf32> {
  %1 = aten.add.Tensor(%x, %bias) : (tensor<6x4x9x9xf32>, tensor<4x9x9xf32>) -> tensor<6x4x9x9xf32>
  %2 = aten.view(%1, size = [2, 3, 4, 9, 9]) : (tensor<6x4x9x9xf32>) -> tensor<2x3x4x9x9xf32>
  %3 = aten.add.Tensor(%2, %mask) : (tensor<2x3x4x9x9xf32>, tensor<1x3x1x9x9xf32>) -> tensor<2x3x4x9x9xf32>
  %4 = aten.view(%3, size = [6, 4, 9, 9]) : (tensor<2x3x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  %5 = aten._softmax(%4, dim = -1, half_to_float = false) : (tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  func.return %5 : tensor<6x4x9x9xf32>
}

// -----

// Rows without scores would be equal weights, not NaN.
// CHECK-LABEL: @negative_infinity
// CHECK-NOT: npu.
func.func @negative_infinity(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -inf) : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2 : tensor<2x4x32x64xf16>
}

// -----

// It does not hide.
// CHECK-LABEL: @negative_small_number
// CHECK-NOT: npu.
func.func @negative_small_number(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -100.0) : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2 : tensor<2x4x32x64xf16>
}

// -----

// CHECK-LABEL: @negative_float32
// CHECK-NOT: npu.
func.func @negative_float32(%x: tensor<2x4x32x64xf32>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf32> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x32x64xf32>) -> tensor<2x4x32x64xf32>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -65504.0) : (tensor<2x4x32x64xf32>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf32>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf32>) -> tensor<2x4x32x64xf32>
  func.return %2 : tensor<2x4x32x64xf32>
}

// -----

// Rows and columns are multiples of 32.
// CHECK-LABEL: @negative_rows
// CHECK-NOT: npu.
func.func @negative_rows(%x: tensor<2x4x9x64xf16>, %hidden: tensor<2x1x9x64xi1>) -> tensor<2x4x9x64xf16> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x9x64xf16>) -> tensor<2x4x9x64xf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -65504.0) : (tensor<2x4x9x64xf16>, tensor<2x1x9x64xi1>) -> tensor<2x4x9x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x9x64xf16>) -> tensor<2x4x9x64xf16>
  func.return %2 : tensor<2x4x9x64xf16>
}

// -----

// CHECK-LABEL: @negative_other_dimension
// CHECK-NOT: npu.
func.func @negative_other_dimension(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16> {
  %0 = aten.mul.Tensor(%x, 0.125) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -65504.0) : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = 2, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2 : tensor<2x4x32x64xf16>
}

// -----

// CHECK-LABEL: @negative_scores_are_used
// CHECK-NOT: npu.
func.func @negative_scores_are_used(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> (tensor<2x4x32x64xf16>, tensor<2x4x32x64xf16>) {
  %1 = aten.masked_fill.Scalar(%x, %hidden, value = -65504.0) : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2, %1 : tensor<2x4x32x64xf16>, tensor<2x4x32x64xf16>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu.
func.func @negative_two_streams(%x: tensor<2x4x32x64xf16>, %hidden: tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16> {
  %1 = aten.masked_fill.Scalar(%x, %hidden, value = -65504.0) {stream.label = "side"} : (tensor<2x4x32x64xf16>, tensor<2x1x32x64xi1>) -> tensor<2x4x32x64xf16>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x32x64xf16>) -> tensor<2x4x32x64xf16>
  func.return %2 : tensor<2x4x32x64xf16>
}

// -----

// A bias is for all batches.
// CHECK-LABEL: @negative_bias_of_batches
// CHECK-NOT: npu.
func.func @negative_bias_of_batches(%x: tensor<6x4x9x9xf32>, %bias: tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32> {
  %1 = aten.add.Tensor(%x, %bias) : (tensor<6x4x9x9xf32>, tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<6x4x9x9xf32>) -> tensor<6x4x9x9xf32>
  func.return %2 : tensor<6x4x9x9xf32>
}

// -----

// CHECK-LABEL: @negative_large_window
// CHECK-NOT: npu.
func.func @negative_large_window(%x: tensor<1x4x9x2048xf32>, %bias: tensor<4x9x2048xf32>) -> tensor<1x4x9x2048xf32> {
  %1 = aten.add.Tensor(%x, %bias) : (tensor<1x4x9x2048xf32>, tensor<4x9x2048xf32>) -> tensor<1x4x9x2048xf32>
  %2 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<1x4x9x2048xf32>) -> tensor<1x4x9x2048xf32>
  func.return %2 : tensor<1x4x9x2048xf32>
}
