// RUN: torchair-opt %s -p raise-matmul,dce --split-input-file | filecheck %s

// CHECK-LABEL: @both_views
// CHECK-NEXT: aten.matmul(%x, %y) : (tensor<2x4x6x16xf32>, tensor<2x4x16x6xf32>) -> tensor<2x4x6x6xf32>
// CHECK-NEXT: func.return
func.func @both_views(%x: tensor<2x4x6x16xf32>, %y: tensor<2x4x16x6xf32>) -> tensor<2x4x6x6xf32> {
  %0 = aten.view(%x, size = [8, 6, 16]) : (tensor<2x4x6x16xf32>) -> tensor<8x6x16xf32>
  %1 = aten.view(%y, size = [8, 16, 6]) : (tensor<2x4x16x6xf32>) -> tensor<8x16x6xf32>
  %2 = aten.bmm(%0, %1) : (tensor<8x6x16xf32>, tensor<8x16x6xf32>) -> tensor<8x6x6xf32>
  %3 = aten.view(%2, size = [2, 4, 6, 6]) : (tensor<8x6x6xf32>) -> tensor<2x4x6x6xf32>
  func.return %3 : tensor<2x4x6x6xf32>
}

// -----

// One factor comes from another rank: it is viewed once, at the product's.
// CHECK-LABEL: @symbolic_and_one_view_stays
// CHECK-NEXT: %0 = aten.view(%y, size = [%b, 4, 16, 6])
// CHECK-NEXT: aten.matmul(%x, %0)
func.func @symbolic_and_one_view_stays(%b: i64, %n: i64, %x: tensor<?x4x6x16xf32, ["s0", "4", "6", "16"]>, %y: tensor<?x2x2x16x6xf32, ["s0", "2", "2", "16", "6"]>) -> tensor<?x4x6x6xf32, ["s0", "4", "6", "6"]> {
  %0 = aten.view(%x, size = [%n, 6, 16]) : (tensor<?x4x6x16xf32, ["s0", "4", "6", "16"]>, i64) -> tensor<?x6x16xf32, ["4*s0", "6", "16"]>
  %1 = aten.view(%y, size = [%n, 16, 6]) : (tensor<?x2x2x16x6xf32, ["s0", "2", "2", "16", "6"]>, i64) -> tensor<?x16x6xf32, ["4*s0", "16", "6"]>
  %2 = aten.bmm(%0, %1) : (tensor<?x6x16xf32, ["4*s0", "6", "16"]>, tensor<?x16x6xf32, ["4*s0", "16", "6"]>) -> tensor<?x6x6xf32, ["4*s0", "6", "6"]>
  %3 = aten.view(%2, size = [%b, 4, 6, 6]) : (tensor<?x6x6xf32, ["4*s0", "6", "6"]>, i64) -> tensor<?x4x6x6xf32, ["s0", "4", "6", "6"]>
  func.return %3 : tensor<?x4x6x6xf32, ["s0", "4", "6", "6"]>
}

// -----

// The product is split into other matrices.
// CHECK-LABEL: @negative_other_matrices
// CHECK: aten.bmm
func.func @negative_other_matrices(%x: tensor<2x4x6x16xf32>, %y: tensor<2x4x16x6xf32>) -> tensor<2x4x3x12xf32> {
  %0 = aten.view(%x, size = [8, 6, 16]) : (tensor<2x4x6x16xf32>) -> tensor<8x6x16xf32>
  %1 = aten.view(%y, size = [8, 16, 6]) : (tensor<2x4x16x6xf32>) -> tensor<8x16x6xf32>
  %2 = aten.bmm(%0, %1) : (tensor<8x6x16xf32>, tensor<8x16x6xf32>) -> tensor<8x6x6xf32>
  %3 = aten.view(%2, size = [2, 4, 3, 12]) : (tensor<8x6x6xf32>) -> tensor<2x4x3x12xf32>
  func.return %3 : tensor<2x4x3x12xf32>
}

// -----

// The factors are grouped otherwise than the product: nothing is gained.
// CHECK-LABEL: @negative_no_factor_has_the_rank
// CHECK: aten.bmm
func.func @negative_no_factor_has_the_rank(%x: tensor<4x2x6x16xf32>, %y: tensor<4x2x16x6xf32>) -> tensor<2x4x6x6xf32> {
  %0 = aten.view(%x, size = [8, 6, 16]) : (tensor<4x2x6x16xf32>) -> tensor<8x6x16xf32>
  %1 = aten.view(%y, size = [8, 16, 6]) : (tensor<4x2x16x6xf32>) -> tensor<8x16x6xf32>
  %2 = aten.bmm(%0, %1) : (tensor<8x6x16xf32>, tensor<8x16x6xf32>) -> tensor<8x6x6xf32>
  %3 = aten.view(%2, size = [2, 4, 6, 6]) : (tensor<8x6x6xf32>) -> tensor<2x4x6x6xf32>
  func.return %3 : tensor<2x4x6x6xf32>
}
