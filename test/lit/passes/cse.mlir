// RUN: torchair-opt %s -p cse --split-input-file | filecheck %s

// CHECK-LABEL: func.func @equal_operations
// CHECK-NEXT: %0 = aten.t(%x)
// CHECK-NEXT: aten.add.Tensor(%0, %0)
func.func @equal_operations(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %0 = aten.t(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %1 = aten.t(%x) : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %2 = aten.add.Tensor(%0, %1) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return %2 : tensor<2x2xf32>
}

// -----

// CHECK-LABEL: func.func @chains_of_equal_operations
// CHECK-NEXT: %0 = aten.exp(%x)
// CHECK-NEXT: %1 = aten.neg(%0)
// CHECK-NEXT: func.return %1, %1
func.func @chains_of_equal_operations(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.neg(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.neg(%1) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %2, %3 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @negative_other_arguments
// CHECK: aten.sum.dim_IntList(%x, dim = [0])
// CHECK: aten.sum.dim_IntList(%x, dim = [1])
// CHECK: aten.add.Tensor(%x, 0.0)
// CHECK: aten.add.Tensor(%x, -0.0)
func.func @negative_other_arguments(%x: tensor<2x2xf32>) -> (tensor<2xf32>, tensor<2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) {
  %0 = aten.sum.dim_IntList(%x, dim = [0]) : (tensor<2x2xf32>) -> tensor<2xf32>
  %1 = aten.sum.dim_IntList(%x, dim = [1]) : (tensor<2x2xf32>) -> tensor<2xf32>
  %2 = aten.add.Tensor(%x, 0.0) : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %3 = aten.add.Tensor(%x, -0.0) : (tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return %0, %1, %2, %3 : tensor<2xf32>, tensor<2xf32>, tensor<2x2xf32>, tensor<2x2xf32>
}

// -----

// CHECK-LABEL: func.func @negative_random_draws
// CHECK-NEXT: aten.rand_like
// CHECK-NEXT: aten.rand_like
func.func @negative_random_draws(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = aten.rand_like(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.rand_like(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @negative_write_in_between
// CHECK-NEXT: aten.exp(%x)
// CHECK-NEXT: aten.copy_
// CHECK-NEXT: aten.exp(%x)
func.func @negative_write_in_between(%x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.copy_(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0, %2 : tensor<4xf32>, tensor<4xf32>
}
