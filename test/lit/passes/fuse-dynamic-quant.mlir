// RUN: torchair-opt %s -p fuse-dynamic-quant --split-input-file | filecheck %s

// The scale is computed in half precision and used elsewhere.
// CHECK-LABEL: @in_half
// CHECK-NEXT: %[[Q:.*]], %[[S:.*]] = npu.npu_dynamic_quant(%x) : (tensor<?x8xf16, ["s0", "8"]>) -> (tensor<?x8xi8, ["s0", "8"]>, tensor<?xf32, ["s0"]>)
// CHECK-NEXT: %[[C:.*]] = aten.unsqueeze(%[[S]], dim = -1)
// CHECK-NEXT: %[[H:.*]] = prims.convert_element_type(%[[C]], dtype = f16)
// CHECK-NEXT: func.return %[[Q]], %[[H]]
func.func @in_half(%x: tensor<?x8xf16, ["s0", "8"]>) -> (tensor<?x8xi8, ["s0", "8"]>, tensor<?x1xf16, ["s0", "1"]>) {
  %0 = aten.abs(%x) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xf16, ["s0", "8"]>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x1xf16, ["s0", "1"]>
  %2 = aten.div.Tensor(%1, 127) : (tensor<?x1xf16, ["s0", "1"]>) -> tensor<?x1xf16, ["s0", "1"]>
  %3 = aten.div.Tensor(%x, %2) : (tensor<?x8xf16, ["s0", "8"]>, tensor<?x1xf16, ["s0", "1"]>) -> tensor<?x8xf16, ["s0", "8"]>
  %4 = aten.round(%3) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xf16, ["s0", "8"]>
  %5 = aten.clamp(%4, min = -128, max = 127) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xf16, ["s0", "8"]>
  %6 = aten._to_copy(%5, dtype = i8) : (tensor<?x8xf16, ["s0", "8"]>) -> tensor<?x8xi8, ["s0", "8"]>
  func.return %6, %2 : tensor<?x8xi8, ["s0", "8"]>, tensor<?x1xf16, ["s0", "1"]>
}

// -----

// In float32, the maximum with its place, a small bound from below, the reciprocal scale.
// CHECK-LABEL: @reciprocal
// CHECK: %[[Q:.*]], %[[S:.*]] = npu.npu_dynamic_quant(%x) : (tensor<4x8xbf16>) -> (tensor<4x8xi8>, tensor<4xf32>)
// CHECK-NEXT: %[[R:.*]] = aten.reciprocal(%[[S]])
// CHECK-NEXT: %[[C:.*]] = aten.unsqueeze(%[[R]], dim = -1)
// CHECK-NEXT: aten.div.Tensor(%y, %[[C]])
// CHECK-NEXT: func.return %[[Q]]
func.func @reciprocal(%x: tensor<4x8xbf16>, %y: tensor<4x8xf32>) -> (tensor<4x8xi8>, tensor<4x8xf32>) {
  %w = aten._to_copy(%x, dtype = f32) : (tensor<4x8xbf16>) -> tensor<4x8xf32>
  %0 = aten.abs(%w) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1, %i = aten.max.dim(%0, dim = 1, keepdim = true) : (tensor<4x8xf32>) -> (tensor<4x1xf32>, tensor<4x1xi64>)
  %2 = aten.clamp(%1, min = 1.0e-05) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %3 = aten.reciprocal(%2) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %4 = aten.mul.Tensor(%3, 127.0) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %5 = aten.mul.Tensor(%w, %4) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %6 = aten.round(%5) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %7 = prims.convert_element_type(%6, dtype = i8) : (tensor<4x8xf32>) -> tensor<4x8xi8>
  %8 = aten.div.Tensor(%y, %4) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  func.return %7, %8 : tensor<4x8xi8>, tensor<4x8xf32>
}

// -----

// A scale that is bounded from below and returned: the fused operator's has no bound.
// CHECK-LABEL: @negative_bound_is_seen
// CHECK-NOT: npu_dynamic_quant
func.func @negative_bound_is_seen(%x: tensor<4x8xf16>) -> (tensor<4x8xi8>, tensor<4x1xf16>) {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<4x8xf16>) -> tensor<4x1xf16>
  %2 = aten.clamp(%1, min = 1.0e-05) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %3 = aten.div.Tensor(%2, 127) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %4 = aten.div.Tensor(%x, %3) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %5 = aten.round(%4) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %6 = aten._to_copy(%5, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %6, %3 : tensor<4x8xi8>, tensor<4x1xf16>
}

// -----

// CHECK-LABEL: @negative_other_largest_number
// CHECK-NOT: npu_dynamic_quant
func.func @negative_other_largest_number(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<4x8xf16>) -> tensor<4x1xf16>
  %2 = aten.div.Tensor(%1, 127.5) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %3 = aten.div.Tensor(%x, %2) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %4 = aten.round(%3) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %5 : tensor<4x8xi8>
}

// -----

// CHECK-LABEL: @negative_one_scale_per_channel
// CHECK-NOT: npu_dynamic_quant
func.func @negative_one_scale_per_channel(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [0], keepdim = true) : (tensor<4x8xf16>) -> tensor<1x8xf16>
  %2 = aten.div.Tensor(%1, 127) : (tensor<1x8xf16>) -> tensor<1x8xf16>
  %3 = aten.div.Tensor(%x, %2) : (tensor<4x8xf16>, tensor<1x8xf16>) -> tensor<4x8xf16>
  %4 = aten.round(%3) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %5 : tensor<4x8xi8>
}

// -----

// Multiplied with the scale where it should be divided.
// CHECK-LABEL: @negative_multiplied
// CHECK-NOT: npu_dynamic_quant
func.func @negative_multiplied(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<4x8xf16>) -> tensor<4x1xf16>
  %2 = aten.div.Tensor(%1, 127) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %3 = aten.mul.Tensor(%x, %2) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %4 = aten.round(%3) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %5 : tensor<4x8xi8>
}

// -----

// The operator takes no float32, and this one was none before.
// CHECK-LABEL: @negative_float32
// CHECK-NOT: npu_dynamic_quant
func.func @negative_float32(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %0 = aten.abs(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<4x8xf32>) -> tensor<4x1xf32>
  %2 = aten.div.Tensor(%1, 127) : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %3 = aten.div.Tensor(%x, %2) : (tensor<4x8xf32>, tensor<4x1xf32>) -> tensor<4x8xf32>
  %4 = aten.round(%3) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf32>) -> tensor<4x8xi8>
  func.return %5 : tensor<4x8xi8>
}

// -----

// The largest values are used for something else.
// CHECK-LABEL: @negative_largest_is_read
// CHECK-NOT: npu_dynamic_quant
func.func @negative_largest_is_read(%x: tensor<4x8xf16>) -> (tensor<4x8xi8>, tensor<4x1xf16>) {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) : (tensor<4x8xf16>) -> tensor<4x1xf16>
  %2 = aten.div.Tensor(%1, 127) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %3 = aten.div.Tensor(%x, %2) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %4 = aten.round(%3) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %5, %1 : tensor<4x8xi8>, tensor<4x1xf16>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu_dynamic_quant
func.func @negative_two_streams(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %0 = aten.abs(%x) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.amax(%0, dim = [-1], keepdim = true) {stream.label = "side"} : (tensor<4x8xf16>) -> tensor<4x1xf16>
  %2 = aten.div.Tensor(%1, 127) : (tensor<4x1xf16>) -> tensor<4x1xf16>
  %3 = aten.div.Tensor(%x, %2) : (tensor<4x8xf16>, tensor<4x1xf16>) -> tensor<4x8xf16>
  %4 = aten.round(%3) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %5 = aten._to_copy(%4, dtype = i8) : (tensor<4x8xf16>) -> tensor<4x8xi8>
  func.return %5 : tensor<4x8xi8>
}
