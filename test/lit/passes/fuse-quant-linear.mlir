// RUN: torchair-opt %s -p fuse-quant-linear --split-input-file | filecheck %s

// A zero point of the tokens: it is taken off each column. One scale per column of the product.
// CHECK-LABEL: @zero_point_of_tokens
// CHECK: %[[X:.*]] = aten.view(%x, size = [6, 16]) : (tensor<2x3x16xi8>) -> tensor<6x16xi8>
// CHECK-NEXT: %[[W:.*]] = aten.t(%w) : (tensor<8x16xi8>) -> tensor<16x8xi8>
// CHECK-NEXT: %[[P:.*]] = aten._int_mm(%[[X]], %[[W]])
// CHECK-NEXT: %[[C:.*]] = aten.sum.dim_IntList(%w, dim = [1], dtype = i32) : (tensor<8x16xi8>) -> tensor<8xi32>
// CHECK-NEXT: %[[D:.*]] = aten.mul.Tensor(%[[C]], -3)
// CHECK-NEXT: %[[E:.*]] = aten.add.Tensor(%[[P]], %[[D]])
// CHECK-NEXT: %[[V:.*]] = aten.view(%s, size = [-1])
// CHECK-NEXT: %[[S:.*]] = aten.mul.Tensor(%[[V]], 0.02) : (tensor<8xf32>) -> tensor<8xf32>
// CHECK-NEXT: %[[Y:.*]] = aten.mul.Tensor(%[[E]], %[[S]]) : (tensor<6x8xi32>, tensor<8xf32>) -> tensor<6x8xf32>
// CHECK-NEXT: %[[R:.*]] = aten.add.Tensor(%[[Y]], %b)
// CHECK-NEXT: func.return %[[R]]
func.func @zero_point_of_tokens(%x: tensor<2x3x16xi8>, %w: tensor<8x16xi8>, %s: tensor<8x1xf32>, %b: tensor<8xf32>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<2x3x16xi8>) -> tensor<2x3x16xf32>
  %1 = aten.sub.Tensor(%0, 3) : (tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %2 = aten.mul.Tensor(%1, 0.02) : (tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %3 = aten.view(%2, size = [6, 16]) : (tensor<2x3x16xf32>) -> tensor<6x16xf32>
  %4 = aten._to_copy(%w, dtype = f32) : (tensor<8x16xi8>) -> tensor<8x16xf32>
  %5 = aten.mul.Tensor(%4, %s) : (tensor<8x16xf32>, tensor<8x1xf32>) -> tensor<8x16xf32>
  %6 = aten.t(%5) : (tensor<8x16xf32>) -> tensor<16x8xf32>
  %7 = aten.addmm(%b, %3, %6) : (tensor<8xf32>, tensor<6x16xf32>, tensor<16x8xf32>) -> tensor<6x8xf32>
  func.return %7 : tensor<6x8xf32>
}

// -----

// Zero points of the weight are data: sums of rows times them. One scale per row, in half precision.
// CHECK-LABEL: @zero_points_of_weight
// CHECK: %[[P:.*]] = aten._int_mm(%x, %w)
// CHECK-NEXT: %[[R:.*]] = aten.sum.dim_IntList(%x, dim = [1], keepdim = true, dtype = i32) : {{.*}} -> tensor<?x1xi32, ["s0", "1"]>
// CHECK-NEXT: %[[Z:.*]] = prims.convert_element_type(%z, dtype = i32)
// CHECK-NEXT: %[[C:.*]] = aten.mul.Tensor(%[[R]], %[[Z]])
// CHECK-NEXT: %[[D:.*]] = aten.sub.Tensor(%[[P]], %[[C]])
// CHECK-NEXT: %[[V:.*]] = aten.view(%r, size = [-1])
// CHECK-NEXT: %[[F:.*]] = prims.convert_element_type(%[[V]], dtype = f32)
// CHECK-NEXT: %[[U:.*]] = aten.unsqueeze(%[[F]], dim = -1)
// CHECK-NEXT: %[[Y:.*]] = aten.mul.Tensor(%[[D]], %[[U]])
// CHECK-NEXT: %[[A:.*]] = aten.mul.Tensor(%[[Y]], 0.5)
// CHECK-NEXT: %[[B:.*]] = prims.convert_element_type(%[[A]], dtype = f16)
// CHECK-NEXT: func.return %[[B]]
func.func @zero_points_of_weight(%x: tensor<?x16xi8, ["s0", "16"]>, %w: tensor<16x8xi8>, %z: tensor<8xi64>, %r: tensor<?x1xf16, ["s0", "1"]>) -> tensor<?x8xf16, ["s0", "8"]> {
  %0 = aten._to_copy(%x, dtype = f16) : (tensor<?x16xi8, ["s0", "16"]>) -> tensor<?x16xf16, ["s0", "16"]>
  %1 = aten.mul.Tensor(%0, %r) : (tensor<?x16xf16, ["s0", "16"]>, tensor<?x1xf16, ["s0", "1"]>) -> tensor<?x16xf16, ["s0", "16"]>
  %2 = aten.sub.Tensor(%w, %z) : (tensor<16x8xi8>, tensor<8xi64>) -> tensor<16x8xi64>
  %3 = aten.mul.Tensor(%2, 0.5) : (tensor<16x8xi64>) -> tensor<16x8xf32>
  %4 = aten._to_copy(%3, dtype = f16) : (tensor<16x8xf32>) -> tensor<16x8xf16>
  %5 = aten.mm(%1, %4) : (tensor<?x16xf16, ["s0", "16"]>, tensor<16x8xf16>) -> tensor<?x8xf16, ["s0", "8"]>
  func.return %5 : tensor<?x8xf16, ["s0", "8"]>
}

// -----

// CHECK-LABEL: @negative_scale_of_inner
// CHECK-NOT: aten._int_mm
func.func @negative_scale_of_inner(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>, %s: tensor<16x1xf32>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<6x16xi8>) -> tensor<6x16xf32>
  %1 = aten.mul.Tensor(%0, 0.5) : (tensor<6x16xf32>) -> tensor<6x16xf32>
  %2 = aten._to_copy(%w, dtype = f32) : (tensor<16x8xi8>) -> tensor<16x8xf32>
  %3 = aten.mul.Tensor(%2, %s) : (tensor<16x8xf32>, tensor<16x1xf32>) -> tensor<16x8xf32>
  %4 = aten.mm(%1, %3) : (tensor<6x16xf32>, tensor<16x8xf32>) -> tensor<6x8xf32>
  func.return %4 : tensor<6x8xf32>
}

// -----

// CHECK-LABEL: @negative_unsigned
// CHECK-NOT: aten._int_mm
func.func @negative_unsigned(%x: tensor<6x16xui8>, %w: tensor<16x8xi8>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<6x16xui8>) -> tensor<6x16xf32>
  %1 = aten.mul.Tensor(%0, 0.5) : (tensor<6x16xf32>) -> tensor<6x16xf32>
  %2 = aten._to_copy(%w, dtype = f32) : (tensor<16x8xi8>) -> tensor<16x8xf32>
  %3 = aten.mul.Tensor(%2, 0.5) : (tensor<16x8xf32>) -> tensor<16x8xf32>
  %4 = aten.mm(%1, %3) : (tensor<6x16xf32>, tensor<16x8xf32>) -> tensor<6x8xf32>
  func.return %4 : tensor<6x8xf32>
}

// -----

// A fractional zero point has no integer product.
// CHECK-LABEL: @negative_fractional_point
// CHECK-NOT: aten._int_mm
func.func @negative_fractional_point(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<6x16xi8>) -> tensor<6x16xf32>
  %1 = aten.sub.Tensor(%0, 0.5) : (tensor<6x16xf32>) -> tensor<6x16xf32>
  %2 = aten.mul.Tensor(%1, 0.5) : (tensor<6x16xf32>) -> tensor<6x16xf32>
  %3 = aten._to_copy(%w, dtype = f32) : (tensor<16x8xi8>) -> tensor<16x8xf32>
  %4 = aten.mul.Tensor(%3, 0.5) : (tensor<16x8xf32>) -> tensor<16x8xf32>
  %5 = aten.mm(%2, %4) : (tensor<6x16xf32>, tensor<16x8xf32>) -> tensor<6x8xf32>
  func.return %5 : tensor<6x8xf32>
}

// -----

// So many numbers might not fit into int32, for their count is not known.
// CHECK-LABEL: @negative_unknown_length
// CHECK-NOT: aten._int_mm
func.func @negative_unknown_length(%x: tensor<6x?xi8, ["6", "s0"]>, %w: tensor<?x8xi8, ["s0", "8"]>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<6x?xi8, ["6", "s0"]>) -> tensor<6x?xf32, ["6", "s0"]>
  %1 = aten.mul.Tensor(%0, 0.5) : (tensor<6x?xf32, ["6", "s0"]>) -> tensor<6x?xf32, ["6", "s0"]>
  %2 = aten._to_copy(%w, dtype = f32) : (tensor<?x8xi8, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %3 = aten.mul.Tensor(%2, 0.5) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %4 = aten.mm(%1, %3) : (tensor<6x?xf32, ["6", "s0"]>, tensor<?x8xf32, ["s0", "8"]>) -> tensor<6x8xf32>
  func.return %4 : tensor<6x8xf32>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: aten._int_mm
func.func @negative_two_streams(%x: tensor<6x16xi8>, %w: tensor<16x8xi8>) -> tensor<6x8xf32> {
  %0 = aten._to_copy(%x, dtype = f32) : (tensor<6x16xi8>) -> tensor<6x16xf32>
  %1 = aten.mul.Tensor(%0, 0.5) {stream.label = "side"} : (tensor<6x16xf32>) -> tensor<6x16xf32>
  %2 = aten._to_copy(%w, dtype = f32) : (tensor<16x8xi8>) -> tensor<16x8xf32>
  %3 = aten.mul.Tensor(%2, 0.5) : (tensor<16x8xf32>) -> tensor<16x8xf32>
  %4 = aten.mm(%1, %3) : (tensor<6x16xf32>, tensor<16x8xf32>) -> tensor<6x8xf32>
  func.return %4 : tensor<6x8xf32>
}
