// RUN: torchair-opt %s -p fuse-weight-quant-matmul --split-input-file | filecheck %s

// CHECK-LABEL: @columns
// CHECK-NEXT: npu.npu_weight_quant_batchmatmul(%x, %w, %s)
// CHECK-NEXT: func.return
func.func @columns(%x: tensor<?x16xbf16, ["s0", "16"]>, %w: tensor<16x8xi8>, %s: tensor<8xbf16>) -> tensor<?x8xbf16, ["s0", "8"]> {
  %0 = aten._to_copy(%w, dtype = bf16) : (tensor<16x8xi8>) -> tensor<16x8xbf16>
  %1 = aten.mul.Tensor(%0, %s) : (tensor<16x8xbf16>, tensor<8xbf16>) -> tensor<16x8xbf16>
  %2 = aten.mm(%x, %1) : (tensor<?x16xbf16, ["s0", "16"]>, tensor<16x8xbf16>) -> tensor<?x8xbf16, ["s0", "8"]>
  func.return %2 : tensor<?x8xbf16, ["s0", "8"]>
}

// -----

// CHECK-LABEL: @rows_and_bias
// CHECK-NEXT: %[[W:.*]] = aten.t(%w) : (tensor<8x16xi8>) -> tensor<16x8xi8>
// CHECK-NEXT: %[[S:.*]] = aten.t(%s) : (tensor<8x1xf16>) -> tensor<1x8xf16>
// CHECK-NEXT: npu.npu_weight_quant_batchmatmul(%x, %[[W]], %[[S]], bias = %b)
// CHECK-NEXT: func.return
func.func @rows_and_bias(%x: tensor<3x16xf16>, %w: tensor<8x16xi8>, %s: tensor<8x1xf16>, %b: tensor<8xf16>) -> tensor<3x8xf16> {
  %0 = aten._to_copy(%w, dtype = f16) : (tensor<8x16xi8>) -> tensor<8x16xf16>
  %1 = aten.mul.Tensor(%0, %s) : (tensor<8x16xf16>, tensor<8x1xf16>) -> tensor<8x16xf16>
  %2 = aten.t(%1) : (tensor<8x16xf16>) -> tensor<16x8xf16>
  %3 = aten.addmm(%b, %x, %2) : (tensor<8xf16>, tensor<3x16xf16>, tensor<16x8xf16>) -> tensor<3x8xf16>
  func.return %3 : tensor<3x8xf16>
}

// -----

// One factor per input channel: the product cannot take it out.
// CHECK-LABEL: @negative_other_axis
// CHECK: aten.mm
func.func @negative_other_axis(%x: tensor<3x16xf16>, %w: tensor<16x8xi8>, %s: tensor<16x1xf16>) -> tensor<3x8xf16> {
  %0 = aten._to_copy(%w, dtype = f16) : (tensor<16x8xi8>) -> tensor<16x8xf16>
  %1 = aten.mul.Tensor(%0, %s) : (tensor<16x8xf16>, tensor<16x1xf16>) -> tensor<16x8xf16>
  %2 = aten.mm(%x, %1) : (tensor<3x16xf16>, tensor<16x8xf16>) -> tensor<3x8xf16>
  func.return %2 : tensor<3x8xf16>
}

// -----

// CHECK-LABEL: @negative_int32_weights
// CHECK: aten.mm
func.func @negative_int32_weights(%x: tensor<3x16xf16>, %w: tensor<16x8xi32>, %s: tensor<8xf16>) -> tensor<3x8xf16> {
  %0 = aten._to_copy(%w, dtype = f16) : (tensor<16x8xi32>) -> tensor<16x8xf16>
  %1 = aten.mul.Tensor(%0, %s) : (tensor<16x8xf16>, tensor<8xf16>) -> tensor<16x8xf16>
  %2 = aten.mm(%x, %1) : (tensor<3x16xf16>, tensor<16x8xf16>) -> tensor<3x8xf16>
  func.return %2 : tensor<3x8xf16>
}
