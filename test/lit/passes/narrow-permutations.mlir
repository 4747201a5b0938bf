// RUN: torchair-opt %s -p narrow-permutations --split-input-file | filecheck %s

// CHECK-LABEL: @dimension_of_one
// CHECK-NEXT: aten.permute(%x, dims = [1, 0, 2])
// CHECK-NEXT: func.return
func.func @dimension_of_one(%x: tensor<?x4x128xf32, ["s0", "4", "128"]>, %n: i64) -> tensor<4x?x128xf32, ["4", "s0", "128"]> {
  %0 = aten.unsqueeze(%x, dim = 3) : (tensor<?x4x128xf32, ["s0", "4", "128"]>) -> tensor<?x4x128x1xf32, ["s0", "4", "128", "1"]>
  %1 = aten.permute(%0, dims = [1, 0, 2, 3]) : (tensor<?x4x128x1xf32, ["s0", "4", "128", "1"]>) -> tensor<4x?x128x1xf32, ["4", "s0", "128", "1"]>
  %2 = aten.view(%1, size = [4, %n, 128]) : (tensor<4x?x128x1xf32, ["4", "s0", "128", "1"]>, i64) -> tensor<4x?x128xf32, ["4", "s0", "128"]>
  func.return %2 : tensor<4x?x128xf32, ["4", "s0", "128"]>
}

// -----

// CHECK-LABEL: @dimensions_that_stay_together
// CHECK-NEXT: %[[P:.*]] = aten.permute(%x, dims = [1, 0, 2])
// CHECK-NEXT: aten.view(%[[P]], size = [2, 3, 4, 128])
// CHECK-NEXT: func.return
func.func @dimensions_that_stay_together(%x: tensor<4x6x128xf32>) -> tensor<2x3x4x128xf32> {
  %0 = aten.view(%x, size = [4, 2, 3, 1, 128]) : (tensor<4x6x128xf32>) -> tensor<4x2x3x1x128xf32>
  %1 = aten.permute(%0, dims = [1, 2, 0, 4, 3]) : (tensor<4x2x3x1x128xf32>) -> tensor<2x3x4x128x1xf32>
  %2 = aten.view(%1, size = [2, 3, 4, 128]) : (tensor<2x3x4x128x1xf32>) -> tensor<2x3x4x128xf32>
  func.return %2 : tensor<2x3x4x128xf32>
}

// -----

// CHECK-LABEL: @nothing_is_moved
// CHECK-NEXT: aten.view(%x, size = [-1, 8, 16])
// CHECK-NEXT: func.return
func.func @nothing_is_moved(%x: tensor<?x1x128xf32, ["s0", "1", "128"]>, %n: i64) -> tensor<?x8x16xf32, ["s0", "8", "16"]> {
  %0 = aten.view(%x, size = [%n, 1, 8, 16]) : (tensor<?x1x128xf32, ["s0", "1", "128"]>, i64) -> tensor<?x1x8x16xf32, ["s0", "1", "8", "16"]>
  %1 = aten.transpose.int(%0, dim0 = 1, dim1 = 2) : (tensor<?x1x8x16xf32, ["s0", "1", "8", "16"]>) -> tensor<?x8x1x16xf32, ["s0", "8", "1", "16"]>
  %2 = aten.squeeze.dim(%1, dim = 2) : (tensor<?x8x1x16xf32, ["s0", "8", "1", "16"]>) -> tensor<?x8x16xf32, ["s0", "8", "16"]>
  func.return %2 : tensor<?x8x16xf32, ["s0", "8", "16"]>
}

// -----

// Two sizes cannot both be inferred: they are read.
// CHECK-LABEL: @two_symbolic_sizes
// CHECK-NEXT: %[[P:.*]] = aten.permute(%x, dims = [1, 0, 2])
// CHECK: aten.view(%[[P]], size = [%{{.*}}, %{{.*}}, 2, 64])
func.func @two_symbolic_sizes(%x: tensor<?x?x128xf32, ["s0", "s1", "128"]>, %n: i64, %m: i64) -> tensor<?x?x2x64xf32, ["s1", "s0", "2", "64"]> {
  %0 = aten.unsqueeze(%x, dim = 2) : (tensor<?x?x128xf32, ["s0", "s1", "128"]>) -> tensor<?x?x1x128xf32, ["s0", "s1", "1", "128"]>
  %1 = aten.permute(%0, dims = [1, 0, 2, 3]) : (tensor<?x?x1x128xf32, ["s0", "s1", "1", "128"]>) -> tensor<?x?x1x128xf32, ["s1", "s0", "1", "128"]>
  %2 = aten.view(%1, size = [%m, %n, 2, 64]) : (tensor<?x?x1x128xf32, ["s1", "s0", "1", "128"]>, i64, i64) -> tensor<?x?x2x64xf32, ["s1", "s0", "2", "64"]>
  func.return %2 : tensor<?x?x2x64xf32, ["s1", "s0", "2", "64"]>
}

// -----

// Nothing is saved: one view and one permutation either way.
// CHECK-LABEL: @negative_no_gain
// CHECK-NEXT: aten.view
// CHECK-NEXT: aten.transpose.int
// CHECK-NEXT: func.return
func.func @negative_no_gain(%x: tensor<1x6x128xf32>) -> tensor<1x8x6x16xf32> {
  %0 = aten.view(%x, size = [1, 6, 8, 16]) : (tensor<1x6x128xf32>) -> tensor<1x6x8x16xf32>
  %1 = aten.transpose.int(%0, dim0 = 1, dim1 = 2) : (tensor<1x6x8x16xf32>) -> tensor<1x8x6x16xf32>
  func.return %1 : tensor<1x8x6x16xf32>
}

// -----

// raise-matmul makes a product of rank four of this.
// CHECK-LABEL: @negative_stack_of_matrices
// CHECK: %2 = aten.transpose.int(%1, dim0 = 1, dim1 = 2)
func.func @negative_stack_of_matrices(%x: tensor<16x1x32xf32>, %y: tensor<16x32x16xf32>) -> tensor<2x1x128xf32> {
  %0 = aten.bmm(%x, %y) : (tensor<16x1x32xf32>, tensor<16x32x16xf32>) -> tensor<16x1x16xf32>
  %1 = aten.view(%0, size = [2, 8, 1, 16]) : (tensor<16x1x16xf32>) -> tensor<2x8x1x16xf32>
  %2 = aten.transpose.int(%1, dim0 = 1, dim1 = 2) : (tensor<2x8x1x16xf32>) -> tensor<2x1x8x16xf32>
  %3 = aten.view(%2, size = [2, 1, 128]) : (tensor<2x1x8x16xf32>) -> tensor<2x1x128xf32>
  func.return %3 : tensor<2x1x128xf32>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK: aten.unsqueeze
// CHECK-NEXT: aten.permute(%0, dims = [1, 0, 2, 3])
func.func @negative_two_streams(%x: tensor<6x4x128xf32>) -> tensor<4x6x128x1xf32> {
  %0 = aten.unsqueeze(%x, dim = 3) {stream.label = "side"} : (tensor<6x4x128xf32>) -> tensor<6x4x128x1xf32>
  %1 = aten.permute(%0, dims = [1, 0, 2, 3]) : (tensor<6x4x128x1xf32>) -> tensor<4x6x128x1xf32>
  func.return %1 : tensor<4x6x128x1xf32>
}
