// RUN: torchair-opt %s -p fuse-attention,dce --split-input-file | filecheck %s

// CHECK-LABEL: @written_out
// CHECK-NEXT: aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %mask, scale = 0.25)
// CHECK-NEXT: func.return
func.func @written_out(%q: tensor<2x4x6x16xf16>, %k: tensor<2x4x6x16xf16>, %v: tensor<2x4x6x16xf16>, %mask: tensor<2x1x6x6xf16>) -> tensor<2x4x6x16xf16> {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf16>) -> tensor<2x4x16x6xf16>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf16>, tensor<2x4x16x6xf16>) -> tensor<2x4x6x6xf16>
  %2 = aten.div.Tensor(%1, 4.0) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %3 = aten.add.Tensor(%2, %mask) : (tensor<2x4x6x6xf16>, tensor<2x1x6x6xf16>) -> tensor<2x4x6x6xf16>
  %4 = aten._to_copy(%3, dtype = f32) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf32>
  %5 = aten._softmax(%4, dim = -1, half_to_float = false) : (tensor<2x4x6x6xf32>) -> tensor<2x4x6x6xf32>
  %6 = aten._to_copy(%5, dtype = f16) : (tensor<2x4x6x6xf32>) -> tensor<2x4x6x6xf16>
  %7 = aten.matmul(%6, %v) : (tensor<2x4x6x6xf16>, tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16>
  func.return %7 : tensor<2x4x6x16xf16>
}

// -----

// CHECK-LABEL: @what_is_shown
// CHECK-NEXT: aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %shown, scale = 0.25)
// CHECK-NEXT: func.return
func.func @what_is_shown(%q: tensor<2x4x6x16xf16>, %k: tensor<2x4x6x16xf16>, %v: tensor<2x4x6x16xf16>, %shown: tensor<2x1x6x6xi1>) -> tensor<2x4x6x16xf16> {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf16>) -> tensor<2x4x16x6xf16>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf16>, tensor<2x4x16x6xf16>) -> tensor<2x4x6x6xf16>
  %2 = aten.mul.Tensor(%1, 0.25) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %3 = aten.scalar_tensor(s = -inf, dtype = f16) : () -> tensor<f16>
  %4 = aten.where.self(%shown, %2, %3) : (tensor<2x1x6x6xi1>, tensor<2x4x6x6xf16>, tensor<f16>) -> tensor<2x4x6x6xf16>
  %5 = aten._softmax(%4, dim = -1, half_to_float = false) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %7 = aten.matmul(%5, %v) : (tensor<2x4x6x6xf16>, tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16>
  func.return %7 : tensor<2x4x6x16xf16>
}

// -----

// Rows that hide every key would be averages, not zeros.
// CHECK-LABEL: @negative_finite_filling
// CHECK: aten._softmax
func.func @negative_finite_filling(%q: tensor<2x4x6x16xf16>, %k: tensor<2x4x6x16xf16>, %v: tensor<2x4x6x16xf16>, %shown: tensor<2x1x6x6xi1>) -> tensor<2x4x6x16xf16> {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf16>) -> tensor<2x4x16x6xf16>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf16>, tensor<2x4x16x6xf16>) -> tensor<2x4x6x6xf16>
  %3 = aten.scalar_tensor(s = -10000.0, dtype = f16) : () -> tensor<f16>
  %4 = aten.where.self(%shown, %1, %3) : (tensor<2x1x6x6xi1>, tensor<2x4x6x6xf16>, tensor<f16>) -> tensor<2x4x6x6xf16>
  %5 = aten._softmax(%4, dim = -1, half_to_float = false) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %7 = aten.matmul(%5, %v) : (tensor<2x4x6x6xf16>, tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16>
  func.return %7 : tensor<2x4x6x16xf16>
}

// -----

// GE has no flash attention in float32.
// CHECK-LABEL: @negative_float32
// CHECK: aten._softmax
func.func @negative_float32(%q: tensor<2x4x6x16xf32>, %k: tensor<2x4x6x16xf32>, %v: tensor<2x4x6x16xf32>) -> tensor<2x4x6x16xf32> {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf32>) -> tensor<2x4x16x6xf32>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf32>, tensor<2x4x16x6xf32>) -> tensor<2x4x6x6xf32>
  %5 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x6x6xf32>) -> tensor<2x4x6x6xf32>
  %7 = aten.matmul(%5, %v) : (tensor<2x4x6x6xf32>, tensor<2x4x6x16xf32>) -> tensor<2x4x6x16xf32>
  func.return %7 : tensor<2x4x6x16xf32>
}

// -----

// Softmax over the queries, not the keys.
// CHECK-LABEL: @negative_other_softmax
// CHECK: aten._softmax
func.func @negative_other_softmax(%q: tensor<2x4x6x16xf16>, %k: tensor<2x4x6x16xf16>, %v: tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16> {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf16>) -> tensor<2x4x16x6xf16>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf16>, tensor<2x4x16x6xf16>) -> tensor<2x4x6x6xf16>
  %5 = aten._softmax(%1, dim = 2, half_to_float = false) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %7 = aten.matmul(%5, %v) : (tensor<2x4x6x6xf16>, tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16>
  func.return %7 : tensor<2x4x6x16xf16>
}

// -----

// The weights are returned too.
// CHECK-LABEL: @negative_weights_are_used
// CHECK: aten._softmax
func.func @negative_weights_are_used(%q: tensor<2x4x6x16xf16>, %k: tensor<2x4x6x16xf16>, %v: tensor<2x4x6x16xf16>) -> (tensor<2x4x6x16xf16>, tensor<2x4x6x6xf16>) {
  %0 = aten.transpose.int(%k, dim0 = 2, dim1 = 3) : (tensor<2x4x6x16xf16>) -> tensor<2x4x16x6xf16>
  %1 = aten.matmul(%q, %0) : (tensor<2x4x6x16xf16>, tensor<2x4x16x6xf16>) -> tensor<2x4x6x6xf16>
  %5 = aten._softmax(%1, dim = -1, half_to_float = false) : (tensor<2x4x6x6xf16>) -> tensor<2x4x6x6xf16>
  %7 = aten.matmul(%5, %v) : (tensor<2x4x6x6xf16>, tensor<2x4x6x16xf16>) -> tensor<2x4x6x16xf16>
  func.return %7, %5 : tensor<2x4x6x16xf16>, tensor<2x4x6x6xf16>
}
