// RUN: torchair-opt %s -p fuse-moe-gating --split-input-file | filecheck %s

// CHECK-LABEL: @normalized
// CHECK-NEXT: %v, %[[J:.*]], %{{.*}} = npu.npu_moe_gating_top_k_softmax_v2(%x, k = 2, renorm = 1)
// CHECK-NEXT: %i = prims.convert_element_type(%[[J]], dtype = i64)
// CHECK-NEXT: func.return %v, %i
func.func @normalized(%x: tensor<?x8xf32, ["s0", "8"]>) -> (tensor<?x2xf32, ["s0", "2"]>, tensor<?x2xi64, ["s0", "2"]>) {
  %0 = aten._softmax(%x, dim = -1, half_to_float = false) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %v, %i = aten.topk(%0, k = 2) : (tensor<?x8xf32, ["s0", "8"]>) -> (tensor<?x2xf32, ["s0", "2"]>, tensor<?x2xi64, ["s0", "2"]>)
  %1 = aten.sum.dim_IntList(%v, dim = [-1], keepdim = true) : (tensor<?x2xf32, ["s0", "2"]>) -> tensor<?x1xf32, ["s0", "1"]>
  %2 = aten.div.Tensor(%v, %1) : (tensor<?x2xf32, ["s0", "2"]>, tensor<?x1xf32, ["s0", "1"]>) -> tensor<?x2xf32, ["s0", "2"]>
  func.return %2, %i : tensor<?x2xf32, ["s0", "2"]>, tensor<?x2xi64, ["s0", "2"]>
}

// -----

// CHECK-LABEL: @plain
// CHECK-NEXT: npu.npu_moe_gating_top_k_softmax_v2(%x, k = 2)
// CHECK-NEXT: prims.convert_element_type
// CHECK-NEXT: func.return
func.func @plain(%x: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi64>) {
  %0 = aten._softmax(%x, dim = 1, half_to_float = false) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %v, %i = aten.topk(%0, k = 2) : (tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi64>)
  func.return %v, %i : tensor<4x2xf32>, tensor<4x2xi64>
}

// -----

// The smallest, not the largest.
// CHECK-LABEL: @negative_smallest
// CHECK: aten.topk
func.func @negative_smallest(%x: tensor<4x8xf32>) -> tensor<4x2xf32> {
  %0 = aten._softmax(%x, dim = 1, half_to_float = false) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %v, %i = aten.topk(%0, k = 2, largest = false) : (tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi64>)
  func.return %v : tensor<4x2xf32>
}

// -----

// All probabilities are returned as well.
// CHECK-LABEL: @negative_probabilities_are_used
// CHECK: aten.topk
func.func @negative_probabilities_are_used(%x: tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x8xf32>) {
  %0 = aten._softmax(%x, dim = 1, half_to_float = false) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %v, %i = aten.topk(%0, k = 2) : (tensor<4x8xf32>) -> (tensor<4x2xf32>, tensor<4x2xi64>)
  func.return %v, %0 : tensor<4x2xf32>, tensor<4x8xf32>
}
