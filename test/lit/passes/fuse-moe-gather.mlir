// RUN: torchair-opt %s -p fuse-moe-gather --split-input-file | filecheck %s

// Matrices of [N, K], then of [K, N].
// CHECK-LABEL: @experts
// CHECK: %[[R:.*]], %[[I:.*]], %[[E:.*]], %{{.*}} = npu.npu_moe_init_routing_v2(%x, %ids, expert_num = 4, expert_tokens_num_flag = true, active_expert_range = [0, 4])
// CHECK-NEXT: %[[T:.*]] = aten.transpose.int(%up, dim0 = -2, dim1 = -1)
// CHECK-NEXT: %[[U:.*]] = npu.npu_grouped_matmul([%[[R]]], [%[[T]]], {{.*}}group_list = %[[E]], {{.*}}split_item = 3, group_type = 0)
// CHECK-NEXT: %[[A:.*]] = aten.silu(%[[U]])
// CHECK-NEXT: %[[D:.*]] = npu.npu_grouped_matmul([%[[A]]], [%down], {{.*}}group_list = %[[E]], {{.*}}split_item = 3, group_type = 0)
// CHECK-NEXT: npu.npu_moe_finalize_routing(%[[D]], scales = %w, expanded_src_to_dst_row = %[[I]], drop_pad_mode = 2, k = 2)
// CHECK-NEXT: func.return
func.func @experts(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> tensor<6x8xf32> {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten.silu(%8) : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %10 = aten.index.Tensor(%down, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18 : tensor<6x8xf32>
}

// -----

// The rows between have another order then.
// CHECK-LABEL: @negative_rows_are_read
// CHECK-NOT: npu_moe
func.func @negative_rows_are_read(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> (tensor<6x8xf32>, tensor<12x16xf32>) {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten.silu(%8) : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %10 = aten.index.Tensor(%down, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18, %9 : tensor<6x8xf32>, tensor<12x16xf32>
}

// -----

// A softmax over the tokens needs all of them in their order.
// CHECK-LABEL: @negative_rows_are_mixed
// CHECK-NOT: npu_moe
func.func @negative_rows_are_mixed(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> tensor<6x8xf32> {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten._softmax(%8, dim = 0, half_to_float = false) : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %10 = aten.index.Tensor(%down, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18 : tensor<6x8xf32>
}

// -----

// Numbers that are no choice may count from the end.
// CHECK-LABEL: @negative_numbers_may_be_negative
// CHECK-NOT: npu_moe
func.func @negative_numbers_may_be_negative(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> tensor<6x8xf32> {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%other, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten.silu(%8) : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %10 = aten.index.Tensor(%down, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18 : tensor<6x8xf32>
}

// -----

// The second product has other experts.
// CHECK-LABEL: @negative_two_routings
// CHECK-NOT: npu_moe
func.func @negative_two_routings(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> tensor<6x8xf32> {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten.silu(%8) : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %f = aten.view(%other, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %10 = aten.index.Tensor(%down, indices = [%f]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18 : tensor<6x8xf32>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu_moe
func.func @negative_two_streams(%x: tensor<6x8xf32>, %scores: tensor<6x4xf32>, %other: tensor<6x2xi64>, %w: tensor<6x2xf32>, %up: tensor<4x16x8xf32>, %down: tensor<4x16x8xf32>) -> tensor<6x8xf32> {
  %t, %ids = aten.topk(%scores, k = 2) : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi64>)
  %0 = aten.unsqueeze(%x, dim = 1) : (tensor<6x8xf32>) -> tensor<6x1x8xf32>
  %1 = aten.expand(%0, size = [6, 2, 8]) : (tensor<6x1x8xf32>) -> tensor<6x2x8xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<6x2x8xf32>) -> tensor<6x2x8xf32>
  %3 = aten.view(%2, size = [12, 8]) : (tensor<6x2x8xf32>) -> tensor<12x8xf32>
  %4 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %5 = aten.index.Tensor(%up, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %6 = aten.unsqueeze(%3, dim = -1) : (tensor<12x8xf32>) -> tensor<12x8x1xf32>
  %7 = aten.bmm(%5, %6) : (tensor<12x16x8xf32>, tensor<12x8x1xf32>) -> tensor<12x16x1xf32>
  %8 = aten.squeeze.dim(%7, dim = -1) : (tensor<12x16x1xf32>) -> tensor<12x16xf32>
  %9 = aten.silu(%8) {stream.label = "side"} : (tensor<12x16xf32>) -> tensor<12x16xf32>
  %10 = aten.index.Tensor(%down, indices = [%4]) : (tensor<4x16x8xf32>, tensor<12xi64>) -> tensor<12x16x8xf32>
  %11 = aten.unsqueeze(%9, dim = 1) : (tensor<12x16xf32>) -> tensor<12x1x16xf32>
  %12 = aten.bmm(%11, %10) : (tensor<12x1x16xf32>, tensor<12x16x8xf32>) -> tensor<12x1x8xf32>
  %13 = aten.squeeze.dim(%12, dim = 1) : (tensor<12x1x8xf32>) -> tensor<12x8xf32>
  %14 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %15 = aten.unsqueeze(%14, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %16 = aten.mul.Tensor(%13, %15) : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %17 = aten.view(%16, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %18 = aten.sum.dim_IntList(%17, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %18 : tensor<6x8xf32>
}
