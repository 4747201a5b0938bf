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
