// RUN: torchair-opt %s -p fuse-static-quant --split-input-file | filecheck %s

// As PyTorch's quantisation flows write it: the reciprocal scale and a zero point, in float32.
// CHECK-LABEL: @numbers
// CHECK: %[[P:.*]] = aten.full(size = [1], fill_value = 3, dtype = i32)
// CHECK-NEXT: %[[S:.*]] = aten.full(size = [1], fill_value = 0.02, dtype = f32)
// CHECK-NEXT: npu.npu_quantize(%x, %[[S]], zero_points = %[[P]], dtype = 1, axis = -1) : (tensor<?x8xf16, ["s0", "8"]>,
// CHECK-NEXT: func.return
func.func @numbers(%x: tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xi8, ["s0", "8"]> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %1 = aten.mul.Tensor(%0, 50.0) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %2 = aten.round(%1) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %3 = aten.add.Tensor(%2, 3) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %4 = aten.clamp(%3, min = -128, max = 127) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xi8, ["s0", "8"]>
  func.return %5 : tensor<?x8xi8, ["s0", "8"]>
}

// -----

// CHECK-LABEL: @columns
// CHECK-NEXT: npu.npu_quantize(%x, %s, dtype = 1, axis = -1)
// CHECK-NEXT: func.return
func.func @columns(%x: tensor<2x4x8xbf16>, %s: tensor<8xf32>) -> tensor<2x4x8xi8> {
  %0 = aten.div.Tensor(%x, %s) : (tensor<2x4x8xbf16>, tensor<8xf32>) -> tensor<2x4x8xf32>
  %1 = aten.clamp(%0, min = -128, max = 127) : (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %2 = aten.round(%1) : (tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %3 = aten._to_copy(%2, dtype = i8) : (tensor<2x4x8xf32>) -> tensor<2x4x8xi8>
  func.return %3 : tensor<2x4x8xi8>
}

// -----

// CHECK-LABEL: @reciprocal_of_a_scalar
// CHECK: %[[V:.*]] = aten.view(%s, size = [-1]) : (tensor<f16>) -> tensor<1xf16>
// CHECK-NEXT: %[[S:.*]] = prims.convert_element_type(%[[V]], dtype = f32)
// CHECK-NEXT: npu.npu_quantize(%x, %[[S]], dtype = 1, axis = -1)
func.func @reciprocal_of_a_scalar(%x: tensor<4x8xf16>, %s: tensor<f16>) -> tensor<4x8xi8> {
  %0 = aten.reciprocal(%s) : (tensor<f16>) -> tensor<f16>
  %1 = aten.mul.Tensor(%x, %0) : (tensor<4x8xf16>, tensor<f16>) -> tensor<4x8xf16>
  %2 = aten.round(%1) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten.clamp(%2, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %4 = aten._to_copy(%3, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %4 : tensor<4x8xi8>
}

// -----

// CHECK-LABEL: @negative_rows
// CHECK-NOT: npu_quantize
func.func @negative_rows(%x: tensor<4x8xf16>, %s: tensor<4x1xf16>) -> tensor<4x8xi8> {
  %0 = aten.div.Tensor(%x, %s) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.clamp(%1, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten._to_copy(%2, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %3 : tensor<4x8xi8>
}

// -----

// The operator's smallest number is -128.
// CHECK-LABEL: @negative_narrow_range
// CHECK-NOT: npu_quantize
func.func @negative_narrow_range(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.mul.Tensor(%x, 8.0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.clamp(%1, min = -127, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten._to_copy(%2, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %3 : tensor<4x8xi8>
}

// -----

// CHECK-LABEL: @negative_fractional_point
// CHECK-NOT: npu_quantize
func.func @negative_fractional_point(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.mul.Tensor(%x, 8.0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.add.Tensor(%1, 0.5) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten.clamp(%2, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %4 = aten._to_copy(%3, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %4 : tensor<4x8xi8>
}

// -----

// CHECK-LABEL: @negative_rounded_values_are_used
// CHECK-NOT: npu_quantize
func.func @negative_rounded_values_are_used(%x: tensor<4x8xf16>) -> (tensor<4x8xi8>, tensor<4x8xf16>) {
  %0 = aten.mul.Tensor(%x, 8.0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.clamp(%1, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten._to_copy(%2, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %3, %2 : tensor<4x8xi8>, tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @negative_uint8
// CHECK-NOT: npu_quantize
func.func @negative_uint8(%x: tensor<4x8xf16>) -> tensor<4x8xui8> {
  %0 = aten.mul.Tensor(%x, 8.0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.clamp(%1, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten._to_copy(%2, dtype = ui8) : (tensor<4x8xf16>) -> tensor<4x8xui8>
  func.return %3 : tensor<4x8xui8>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu_quantize
func.func @negative_two_streams(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.mul.Tensor(%x, 8.0) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.round(%0) {stream.label = "side"} : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %2 = aten.clamp(%1, min = -128, max = 127) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %3 = aten._to_copy(%2, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %3 : tensor<4x8xi8>
}
