// RUN: torchair-opt %s -p dce --split-input-file | filecheck %s

// CHECK-LABEL: func.func @dead_chain
// CHECK-NEXT: aten.relu
// CHECK-NEXT: func.return
func.func @dead_chain(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.neg(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @negative_one_of_two_results_is_used
// CHECK-NEXT: aten.max.dim
func.func @negative_one_of_two_results_is_used(%x: tensor<2x4xf32>) -> tensor<2xi64> {
  %0, %1 = aten.max.dim(%x, dim = 1) : (tensor<2x4xf32>) -> (tensor<2xf32>, tensor<2xi64>)
  func.return %1 : tensor<2xi64>
}

// -----

// CHECK-LABEL: func.func @negative_effects
// CHECK-NEXT: aten.copy_
// CHECK-NEXT: aten.rand_like
// CHECK-NEXT: aten._assert_async
// CHECK-NEXT: func.return
func.func @negative_effects(%x: tensor<4xf32>, %y: tensor<4xf32>, %b: tensor<i1>) {
  %0 = aten.copy_(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.rand_like(%x) : (tensor<4xf32>) -> tensor<4xf32>
  aten._assert_async(%b) : (tensor<i1>) -> ()
  func.return
}
