// RUN: torchair-opt %s -p fuse-norm-output --split-input-file | filecheck %s

// The half precision result is used as well: the fused operator gives both.
// CHECK-LABEL: @cast
// CHECK-NEXT: %0, %y, %r, %x = npu.npu_add_rms_norm_cast(%a, %b, %w)
// CHECK-NEXT: func.return %0, %y, %x
func.func @cast(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>) -> (tensor<4x8xf32>, tensor<4x8xf16>, tensor<4x8xf16>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %0 = aten._to_copy(%y, dtype = f32) : (tensor<4x8xf16>) -> tensor<4x8xf32>
  func.return %0, %y, %x : tensor<4x8xf32>, tensor<4x8xf16>, tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @dynamic_quant
// CHECK-NEXT: %q, %0, %x, %s, %1 = npu.npu_add_rms_norm_dynamic_quant(%a, %b, %w, smooth_scale1 = %m)
// CHECK-NEXT: func.return %q, %s, %x
func.func @dynamic_quant(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>, %m: tensor<8xf16>) -> (tensor<4x8xi8>, tensor<4xf32>, tensor<4x8xf16>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %q, %s = npu.npu_dynamic_quant(%y, smooth_scales = %m) : (tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xi8>, tensor<4xf32>)
  func.return %q, %s, %x : tensor<4x8xi8>, tensor<4xf32>, tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @negative_result_is_read_twice
// CHECK: npu.npu_dynamic_quant
func.func @negative_result_is_read_twice(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>) -> (tensor<4x8xi8>, tensor<4x8xf16>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %q, %s = npu.npu_dynamic_quant(%y) : (tensor<4x8xf16>) -> (tensor<4x8xi8>, tensor<4xf32>)
  func.return %q, %y : tensor<4x8xi8>, tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @negative_float32
// CHECK-NOT: npu_add_rms_norm_cast
func.func @negative_float32(%a: tensor<4x8xf32>, %b: tensor<4x8xf32>, %w: tensor<8xf32>) -> tensor<4x8xf64> {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf32>, tensor<4x8xf32>, tensor<8xf32>) -> (tensor<4x8xf32>, tensor<4x1xf32>, tensor<4x8xf32>)
  %0 = aten._to_copy(%y, dtype = f64) : (tensor<4x8xf32>) -> tensor<4x8xf64>
  func.return %0 : tensor<4x8xf64>
}

// -----

// Tokens are flattened between: the views move behind.
// CHECK-LABEL: @dynamic_quant_of_a_view
// CHECK-NEXT: %[[Q:.*]], %{{.*}}, %x, %[[S:.*]], %{{.*}} = npu.npu_add_rms_norm_dynamic_quant(%a, %b, %w) : {{.*}} -> (tensor<?x4x8xi8, ["s0", "4", "8"]>, tensor<0xi8>, tensor<?x4x8xf16, ["s0", "4", "8"]>, tensor<?x4xf32, ["s0", "4"]>, tensor<0xf32>)
// CHECK-NEXT: %[[V:.*]] = aten.view(%[[Q]], size = [-1, 8]) : {{.*}} -> tensor<?x8xi8, ["4*s0", "8"]>
// CHECK-NEXT: %[[T:.*]] = aten.view(%[[S]], size = [-1]) : {{.*}} -> tensor<?xf32, ["4*s0"]>
// CHECK-NEXT: func.return %[[V]], %[[T]], %x
func.func @dynamic_quant_of_a_view(%a: tensor<?x4x8xf16, ["s0", "4", "8"]>, %b: tensor<?x4x8xf16, ["s0", "4", "8"]>, %w: tensor<8xf16>) -> (tensor<?x8xi8, ["4*s0", "8"]>, tensor<?xf32, ["4*s0"]>, tensor<?x4x8xf16, ["s0", "4", "8"]>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<?x4x8xf16, ["s0", "4", "8"]>, tensor<?x4x8xf16, ["s0", "4", "8"]>, tensor<8xf16>) -> (tensor<?x4x8xf16, ["s0", "4", "8"]>, tensor<?x4x1xf32, ["s0", "4", "1"]>, tensor<?x4x8xf16, ["s0", "4", "8"]>)
  %v = aten.view(%y, size = [-1, 8]) : (tensor<?x4x8xf16, ["s0", "4", "8"]>) -> tensor<?x8xf16, ["4*s0", "8"]>
  %q, %s = npu.npu_dynamic_quant(%v) : (tensor<?x8xf16, ["4*s0", "8"]>) -> (tensor<?x8xi8, ["4*s0", "8"]>, tensor<?xf32, ["4*s0"]>)
  func.return %q, %s, %x : tensor<?x8xi8, ["4*s0", "8"]>, tensor<?xf32, ["4*s0"]>, tensor<?x4x8xf16, ["s0", "4", "8"]>
}

// -----

// The operator wants one scale per column, and what stands behind the norm before it.
// CHECK-LABEL: @static_quant
// CHECK: %[[S:.*]] = aten.full(size = [1], fill_value = 0.05, dtype = f32)
// CHECK-NEXT: %[[E:.*]] = aten.expand(%[[S]], size = [8]) : (tensor<1xf32>) -> tensor<8xf32>
// CHECK-NEXT: %[[Q:.*]], %{{.*}}, %x = npu.npu_add_rms_norm_quant(%a, %b, %w, %[[E]], zero_points1 = %p) : {{.*}} -> (tensor<4x8xi8>, tensor<4x8xi8>, tensor<4x8xf16>)
// CHECK-NOT: npu_quantize
// CHECK: func.return %[[Q]], %x
func.func @static_quant(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>, %p: tensor<8xi32>) -> (tensor<4x8xi8>, tensor<4x8xf16>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %s = aten.full(size = [1], fill_value = 0.05, dtype = f32) : () -> tensor<1xf32>
  %q = npu.npu_quantize(%y, %s, zero_points = %p, dtype = 1, axis = -1) : (tensor<4x8xf16>, tensor<1xf32>, tensor<8xi32>) -> tensor<4x8xi8>
  func.return %q, %x : tensor<4x8xi8>, tensor<4x8xf16>
}

// -----

// The scales are computed from the norm's own results.
// CHECK-LABEL: @negative_scales_come_later
// CHECK: npu.npu_quantize
func.func @negative_scales_come_later(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>) -> tensor<4x8xi8> {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %0 = aten.amax(%x, dim = [0]) : (tensor<4x8xf16>) -> tensor<8xf16>
  %1 = aten._to_copy(%0, dtype = f32) : (tensor<8xf16>) -> tensor<8xf32>
  %q = npu.npu_quantize(%y, %1, dtype = 1, axis = -1) : (tensor<4x8xf16>, tensor<8xf32>) -> tensor<4x8xi8>
  func.return %q : tensor<4x8xi8>
}

// -----

// CHECK-LABEL: @negative_scales_of_rows
// CHECK: npu.npu_quantize
func.func @negative_scales_of_rows(%a: tensor<8x8xf16>, %b: tensor<8x8xf16>, %w: tensor<8xf16>, %s: tensor<8xf32>) -> tensor<8x8xi8> {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<8x8xf16>, tensor<8x8xf16>, tensor<8xf16>) -> (tensor<8x8xf16>, tensor<8x1xf32>, tensor<8x8xf16>)
  %q = npu.npu_quantize(%y, %s, dtype = 1, axis = 0) : (tensor<8x8xf16>, tensor<8xf32>) -> tensor<8x8xi8>
  func.return %q : tensor<8x8xi8>
}

// -----

// The view joins tokens: their last dimension is another one.
// CHECK-LABEL: @negative_tokens_are_joined
// CHECK: npu.npu_dynamic_quant
func.func @negative_tokens_are_joined(%a: tensor<4x8xf16>, %b: tensor<4x8xf16>, %w: tensor<8xf16>) -> (tensor<2x16xi8>, tensor<2xf32>) {
  %y, %r, %x = npu.npu_add_rms_norm(%a, %b, %w) : (tensor<4x8xf16>, tensor<4x8xf16>, tensor<8xf16>) -> (tensor<4x8xf16>, tensor<4x1xf32>, tensor<4x8xf16>)
  %v = aten.view(%y, size = [2, 16]) : (tensor<4x8xf16>) -> tensor<2x16xf16>
  %q, %s = npu.npu_dynamic_quant(%v) : (tensor<2x16xf16>) -> (tensor<2x16xi8>, tensor<2xf32>)
  func.return %q, %s : tensor<2x16xi8>, tensor<2xf32>
}
