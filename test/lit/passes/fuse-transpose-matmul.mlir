// RUN: torchair-opt %s -p fuse-transpose-matmul,dce --split-input-file | filecheck %s

// CHECK-LABEL: @tokens_and_heads
// CHECK-NEXT: npu.npu_transpose_batchmatmul(%x, %w, perm_x1 = [1, 0, 2], perm_x2 = [0, 1, 2], perm_y = [1, 0, 2])
// CHECK-NEXT: func.return
func.func @tokens_and_heads(%x: tensor<6x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> tensor<6x4x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xbf16>) -> tensor<4x6x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xbf16>) -> tensor<6x4x128xbf16>
  func.return %2 : tensor<6x4x128xbf16>
}

// -----

// CHECK-LABEL: @result_alone
// CHECK-NEXT: npu.npu_transpose_batchmatmul(%x, %w, perm_x1 = [0, 1, 2], perm_x2 = [0, 1, 2], perm_y = [1, 0, 2])
// CHECK-NEXT: func.return
func.func @result_alone(%x: tensor<4x?x128xf32, ["4", "s0", "128"]>, %w: tensor<4x128x256xf32>) -> tensor<?x4x256xf32, ["s0", "4", "256"]> {
  %1 = aten.bmm(%x, %w) : (tensor<4x?x128xf32, ["4", "s0", "128"]>, tensor<4x128x256xf32>) -> tensor<4x?x256xf32, ["4", "s0", "256"]>
  %2 = aten.permute(%1, dims = [1, 0, 2]) : (tensor<4x?x256xf32, ["4", "s0", "256"]>) -> tensor<?x4x256xf32, ["s0", "4", "256"]>
  func.return %2 : tensor<?x4x256xf32, ["s0", "4", "256"]>
}

// -----

// Weights are not copied for every batch.
// CHECK-LABEL: @batches_of_tokens
// CHECK-NEXT: %[[X:.*]] = aten.view(%x, size = [-1, 4, 128])
// CHECK-NEXT: %[[Y:.*]] = npu.npu_transpose_batchmatmul(%[[X]], %w, perm_x1 = [1, 0, 2], perm_x2 = [0, 1, 2], perm_y = [1, 0, 2])
// CHECK-NEXT: aten.view(%[[Y]], size = [2, 3, 4, 128])
func.func @batches_of_tokens(%x: tensor<2x3x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> tensor<2x3x4x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 1, dim1 = 2) : (tensor<2x3x4x128xbf16>) -> tensor<2x4x3x128xbf16>
  %1 = aten.expand(%w, size = [2, 4, 128, 128]) : (tensor<4x128x128xbf16>) -> tensor<2x4x128x128xbf16>
  %2 = aten.matmul(%0, %1) : (tensor<2x4x3x128xbf16>, tensor<2x4x128x128xbf16>) -> tensor<2x4x3x128xbf16>
  %3 = aten.transpose.int(%2, dim0 = 1, dim1 = 2) : (tensor<2x4x3x128xbf16>) -> tensor<2x3x4x128xbf16>
  func.return %3 : tensor<2x3x4x128xbf16>
}

// -----

// Inner sizes and columns are multiples of 128.
// CHECK-LABEL: @negative_inner_size
// CHECK-NOT: npu.
func.func @negative_inner_size(%x: tensor<6x4x64xbf16>, %w: tensor<4x64x128xbf16>) -> tensor<6x4x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x64xbf16>) -> tensor<4x6x64xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x64xbf16>, tensor<4x64x128xbf16>) -> tensor<4x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xbf16>) -> tensor<6x4x128xbf16>
  func.return %2 : tensor<6x4x128xbf16>
}

// -----

// CHECK-LABEL: @negative_columns
// CHECK-NOT: npu.
func.func @negative_columns(%x: tensor<6x4x128xbf16>, %w: tensor<4x128x100xbf16>) -> tensor<6x4x100xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xbf16>) -> tensor<4x6x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x128xbf16>, tensor<4x128x100xbf16>) -> tensor<4x6x100xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x100xbf16>) -> tensor<6x4x100xbf16>
  func.return %2 : tensor<6x4x100xbf16>
}

// -----

// 128 heads of 512 numbers are more than the operator swaps on the left.
// CHECK-LABEL: @large_swap
// CHECK-NEXT: %[[X:.*]] = aten.transpose.int(%x, dim0 = 0, dim1 = 1)
// CHECK-NEXT: npu.npu_transpose_batchmatmul(%[[X]], %w, perm_x1 = [0, 1, 2], perm_x2 = [0, 1, 2], perm_y = [1, 0, 2])
// CHECK-NEXT: func.return
func.func @large_swap(%x: tensor<6x128x512xbf16>, %w: tensor<128x512x128xbf16>) -> tensor<6x128x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x128x512xbf16>) -> tensor<128x6x512xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<128x6x512xbf16>, tensor<128x512x128xbf16>) -> tensor<128x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<128x6x128xbf16>) -> tensor<6x128x128xbf16>
  func.return %2 : tensor<6x128x128xbf16>
}

// -----

// Nothing is moved.
// CHECK-LABEL: @negative_one_row
// CHECK-NOT: npu.
func.func @negative_one_row(%x: tensor<1x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> tensor<1x4x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<1x4x128xbf16>) -> tensor<4x1x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x1x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x1x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x1x128xbf16>) -> tensor<1x4x128xbf16>
  func.return %2 : tensor<1x4x128xbf16>
}

// -----

// CHECK-LABEL: @negative_int32
// CHECK-NOT: npu.
func.func @negative_int32(%x: tensor<6x4x128xi32>, %w: tensor<4x128x128xi32>) -> tensor<6x4x128xi32> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xi32>) -> tensor<4x6x128xi32>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x128xi32>, tensor<4x128x128xi32>) -> tensor<4x6x128xi32>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xi32>) -> tensor<6x4x128xi32>
  func.return %2 : tensor<6x4x128xi32>
}

// -----

// BatchMatMul reads them as they are.
// CHECK-LABEL: @negative_transposed_weights
// CHECK-NOT: npu.
func.func @negative_transposed_weights(%x: tensor<6x4x128xbf16>, %u: tensor<4x128x128xbf16>) -> tensor<6x4x128xbf16> {
  %w = aten.transpose.int(%u, dim0 = 1, dim1 = 2) : (tensor<4x128x128xbf16>) -> tensor<4x128x128xbf16>
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xbf16>) -> tensor<4x6x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xbf16>) -> tensor<6x4x128xbf16>
  func.return %2 : tensor<6x4x128xbf16>
}

// -----

// CHECK-LABEL: @negative_product_is_used
// CHECK-NOT: npu.
func.func @negative_product_is_used(%x: tensor<6x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> (tensor<6x4x128xbf16>, tensor<4x6x128xbf16>) {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xbf16>) -> tensor<4x6x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x6x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xbf16>) -> tensor<6x4x128xbf16>
  func.return %2, %1 : tensor<6x4x128xbf16>, tensor<4x6x128xbf16>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu.
func.func @negative_two_streams(%x: tensor<6x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> tensor<6x4x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<6x4x128xbf16>) -> tensor<4x6x128xbf16>
  %1 = aten.bmm(%0, %w) {stream.label = "side"} : (tensor<4x6x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x6x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 0, dim1 = 1) : (tensor<4x6x128xbf16>) -> tensor<6x4x128xbf16>
  func.return %2 : tensor<6x4x128xbf16>
}

// -----

// CHECK-LABEL: @negative_other_swap
// CHECK-NOT: npu.
func.func @negative_other_swap(%x: tensor<128x4x128xbf16>, %w: tensor<4x128x128xbf16>) -> tensor<4x128x128xbf16> {
  %0 = aten.transpose.int(%x, dim0 = 0, dim1 = 1) : (tensor<128x4x128xbf16>) -> tensor<4x128x128xbf16>
  %1 = aten.bmm(%0, %w) : (tensor<4x128x128xbf16>, tensor<4x128x128xbf16>) -> tensor<4x128x128xbf16>
  %2 = aten.transpose.int(%1, dim0 = 1, dim1 = 2) : (tensor<4x128x128xbf16>) -> tensor<4x128x128xbf16>
  func.return %2 : tensor<4x128x128xbf16>
}
