// RUN: torchair-opt %s -p fuse-quant-matmul --split-input-file | filecheck %s

// One factor per row and one per column, multiplied first.
// CHECK-LABEL: @rows_and_columns
// CHECK: %[[R:.*]] = aten.view(%r, size = [-1]) : (tensor<?x1xf32, ["s0", "1"]>) -> tensor<?xf32, ["s0"]>
// CHECK-NEXT: npu.npu_quant_matmul(%x, %w, %c, pertoken_scale = %[[R]], output_dtype = 5)
// CHECK-NEXT: func.return
func.func @rows_and_columns(%x: tensor<?x16xi8, ["s0", "16"]>, %w: tensor<16x8xi8>, %r: tensor<?x1xf32, ["s0", "1"]>, %c: tensor<8xf32>) -> tensor<?x8xf16, ["s0", "8"]> {
  %0 = aten._int_mm(%x, %w) : (tensor<?x16xi8, ["s0", "16"]>, tensor<16x8xi8>) -> tensor<?x8xi32, ["s0", "8"]>
  %1 = aten.mul.Tensor(%r, %c) : (tensor<?x1xf32, ["s0", "1"]>, tensor<8xf32>) -> tensor<?x8xf32, ["s0", "8"]>
  %2 = aten.mul.Tensor(%0, %1) : (tensor<?x8xi32, ["s0", "8"]>, tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %3 = aten._to_copy(%2, dtype = f16) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf16, ["s0", "8"]>
  func.return %3 : tensor<?x8xf16, ["s0", "8"]>
}

// -----

// Tokens in two dimensions, factors in bfloat16 one after the other, a bias.
// CHECK-LABEL: @reshaped
// CHECK-NEXT: %[[R:.*]] = aten.view(%r, size = [-1]) : (tensor<2x3x1xbf16>) -> tensor<6xbf16>
// CHECK-NEXT: %[[S:.*]] = prims.convert_element_type(%[[R]], dtype = f32)
// CHECK-NEXT: %[[Q:.*]] = npu.npu_quant_matmul(%x, %w, %c, pertoken_scale = %[[S]], bias = %b, output_dtype = 15) {{.*}} -> tensor<6x8xbf16>
// CHECK-NEXT: aten.view(%[[Q]], size = [2, 3, 8])
// CHECK-NEXT: func.return
func.func @reshaped(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %r: tensor<2x3x1xbf16>, %c: tensor<8xbf16>, %b: tensor<8xbf16>) -> tensor<2x3x8xbf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.view(%0, size = [2, 3, 8]) : (tensor<6x8xi32>) -> tensor<2x3x8xi32>
  %2 = aten.mul.Tensor(%1, %r) : (tensor<2x3x8xi32>, tensor<2x3x1xbf16>) -> tensor<2x3x8xbf16>
  %3 = aten.mul.Tensor(%2, %c) : (tensor<2x3x8xbf16>, tensor<8xbf16>) -> tensor<2x3x8xbf16>
  %4 = aten.add.Tensor(%3, %b) : (tensor<2x3x8xbf16>, tensor<8xbf16>) -> tensor<2x3x8xbf16>
  func.return %4 : tensor<2x3x8xbf16>
}

// -----

// A bias in int32 before the factors; one of those is a number, the other a divisor.
// CHECK-LABEL: @integer_bias
// CHECK-NEXT: %[[R:.*]] = aten.reciprocal(%s) : (tensor<1xf32>) -> tensor<1xf32>
// CHECK-NEXT: %[[S:.*]] = aten.mul.Tensor(%[[R]], 0.5)
// CHECK-NEXT: npu.npu_quant_matmul(%x, %w, %[[S]], bias = %b, output_dtype = 5)
// CHECK-NEXT: func.return
func.func @integer_bias(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %s: tensor<1xf32>, %b: tensor<8xi32>) -> tensor<6x8xf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.add.Tensor(%0, %b) : (tensor<6x8xi32>, tensor<8xi32>) -> tensor<6x8xi32>
  %2 = aten.div.Tensor(%1, %s) : (tensor<6x8xi32>, tensor<1xf32>) -> tensor<6x8xf32>
  %3 = aten.mul.Tensor(%2, 0.5) : (tensor<6x8xf32>) -> tensor<6x8xf32>
  %4 = prims.convert_element_type(%3, dtype = f16) : (tensor<6x8xf32>) -> tensor<6x8xf16>
  func.return %4 : tensor<6x8xf16>
}

// -----

// CHECK-LABEL: @one_number
// CHECK-NEXT: %[[S:.*]] = aten.full(size = [1], fill_value = 0.25, dtype = f32) : () -> tensor<1xf32>
// CHECK-NEXT: npu.npu_quant_matmul(%x, %w, %[[S]], output_dtype = 15)
func.func @one_number(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>) -> tensor<6x8xbf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten._to_copy(%0, dtype = bf16) : (tensor<6x8xi32>) -> tensor<6x8xbf16>
  %2 = aten.mul.Tensor(%1, 0.25) : (tensor<6x8xbf16>) -> tensor<6x8xbf16>
  func.return %2 : tensor<6x8xbf16>
}

// -----

// The operator has no float bias for a result in float16 without factors of rows.
// CHECK-LABEL: @bias_stays
// CHECK-NEXT: %[[Q:.*]] = npu.npu_quant_matmul(%x, %w, %c, output_dtype = 5)
// CHECK-NEXT: aten.add.Tensor(%[[Q]], %b)
func.func @bias_stays(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<8xf32>, %b: tensor<8xf16>) -> tensor<6x8xf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.mul.Tensor(%0, %c) : (tensor<6x8xi32>, tensor<8xf32>) -> tensor<6x8xf32>
  %2 = aten._to_copy(%1, dtype = f16) : (tensor<6x8xf32>) -> tensor<6x8xf16>
  %3 = aten.add.Tensor(%2, %b) : (tensor<6x8xf16>, tensor<8xf16>) -> tensor<6x8xf16>
  func.return %3 : tensor<6x8xf16>
}

// -----

// CHECK-LABEL: @negative_float32
// CHECK: aten._int_mm
func.func @negative_float32(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<8xf32>) -> tensor<6x8xf32> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.mul.Tensor(%0, %c) : (tensor<6x8xi32>, tensor<8xf32>) -> tensor<6x8xf32>
  func.return %1 : tensor<6x8xf32>
}

// -----

// CHECK-LABEL: @negative_product_is_read_twice
// CHECK: aten._int_mm
func.func @negative_product_is_read_twice(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<8xf16>) -> (tensor<6x8xf16>, tensor<6x8xi32>) {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.mul.Tensor(%0, %c) : (tensor<6x8xi32>, tensor<8xf16>) -> tensor<6x8xf16>
  func.return %1, %0 : tensor<6x8xf16>, tensor<6x8xi32>
}

// -----

// A number per element is no factor of rows or columns.
// CHECK-LABEL: @negative_other_factor
// CHECK: aten._int_mm
func.func @negative_other_factor(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<6x8xf16>) -> tensor<6x8xf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.mul.Tensor(%0, %c) : (tensor<6x8xi32>, tensor<6x8xf16>) -> tensor<6x8xf16>
  func.return %1 : tensor<6x8xf16>
}

// -----

// CHECK-LABEL: @negative_divided_by_the_product
// CHECK: aten._int_mm
func.func @negative_divided_by_the_product(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<8xf16>) -> tensor<6x8xf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.div.Tensor(%c, %0) : (tensor<8xf16>, tensor<6x8xi32>) -> tensor<6x8xf16>
  func.return %1 : tensor<6x8xf16>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK: aten._int_mm
func.func @negative_two_streams(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %c: tensor<8xf16>) -> tensor<6x8xf16> {
  %0 = aten._int_mm(%x, %w) : (tensor<6x16xi8>, tensor<16x8xi8>) -> tensor<6x8xi32>
  %1 = aten.mul.Tensor(%0, %c) {stream.label = "side"} : (tensor<6x8xi32>, tensor<8xf16>) -> tensor<6x8xf16>
  func.return %1 : tensor<6x8xf16>
}
