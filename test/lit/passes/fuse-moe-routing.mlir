// RUN: torchair-opt %s -p fuse-moe-routing --split-input-file | filecheck %s

// CHECK-LABEL: @experts
// CHECK: %[[R:.*]], %[[I:.*]], %[[E:.*]], %{{.*}} = npu.npu_moe_init_routing_v2(%x, %ids, expert_num = 4, expert_tokens_num_flag = true, active_expert_range = [0, 4])
// CHECK: %[[N:.*]] = prims.convert_element_type(%[[E]], dtype = i32)
// CHECK-NEXT: %[[Y:.*]] = aten._grouped_mm(%[[R]], %e, offs = %[[N]])
// CHECK: %[[W:.*]] = prims.convert_element_type(%w, dtype = bf16)
// CHECK-NEXT: npu.npu_moe_finalize_routing(%[[Y]], scales = %[[W]], expanded_src_to_dst_row = %[[I]], drop_pad_mode = 2, k = 2)
// CHECK-NEXT: func.return
func.func @experts(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xbf16> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35 : tensor<6x8xbf16>
}

// -----

// The order of a sort that is not stable is another one than the operator's.
// CHECK-LABEL: @negative_order_is_read
// CHECK-NOT: npu_moe
func.func @negative_order_is_read(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> (tensor<6x8xbf16>, tensor<12xi64>) {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35, %2 : tensor<6x8xbf16>, tensor<12xi64>
}

// -----

// The fused operator's sum has the rows' type.
// CHECK-LABEL: @negative_sum_in_float32
// CHECK-NOT: npu_moe
func.func @negative_sum_in_float32(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xf32> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  func.return %34 : tensor<6x8xf32>
}

// -----

// Each token goes to two experts, not to three.
// CHECK-LABEL: @negative_other_tokens
// CHECK-NOT: npu_moe
func.func @negative_other_tokens(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xbf16> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 3) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35 : tensor<6x8xbf16>
}

// -----

// Numbers of five experts in four places.
// CHECK-LABEL: @negative_more_experts_counted
// CHECK-NOT: npu_moe
func.func @negative_more_experts_counted(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xbf16> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 4) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35 : tensor<6x8xbf16>
}

// -----

// The weights are those of the unsorted rows.
// CHECK-LABEL: @negative_weights_of_other_rows
// CHECK-NOT: npu_moe
func.func @negative_weights_of_other_rows(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xbf16> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%1]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35 : tensor<6x8xbf16>
}

// -----

// CHECK-LABEL: @negative_two_streams
// CHECK-NOT: npu_moe
func.func @negative_two_streams(%x: tensor<6x8xbf16>, %ids: tensor<6x2xi64>, %w: tensor<6x2xf32>, %e: tensor<4x8x8xbf16>) -> tensor<6x8xbf16> {
  %0 = aten.view(%ids, size = [-1]) : (tensor<6x2xi64>) -> tensor<12xi64>
  %1, %2 = aten.sort(%0) : (tensor<12xi64>) -> (tensor<12xi64>, tensor<12xi64>)
  %3 = aten.floor_divide(%2, 2) : (tensor<12xi64>) -> tensor<12xi64>
  %4 = aten.index.Tensor(%x, indices = [%3]) : (tensor<6x8xbf16>, tensor<12xi64>) -> tensor<12x8xbf16>
  %5 = aten.view(%w, size = [-1]) : (tensor<6x2xf32>) -> tensor<12xf32>
  %6 = aten.index.Tensor(%5, indices = [%2]) : (tensor<12xf32>, tensor<12xi64>) -> tensor<12xf32>
  %7 = aten._to_copy(%1, dtype = f32) : (tensor<12xi64>) -> tensor<12xf32>
  %8 = aten.new_full(%7, size = [], fill_value = 0) : (tensor<12xf32>) -> tensor<f32>
  %9 = aten.new_full(%7, size = [], fill_value = 3) : (tensor<12xf32>) -> tensor<f32>
  %10 = aten.ge.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %11 = aten.le.Tensor(%7, %9) : (tensor<12xf32>, tensor<f32>) -> tensor<12xi1>
  %12 = aten.bitwise_and.Tensor(%10, %11) : (tensor<12xi1>, tensor<12xi1>) -> tensor<12xi1>
  %13 = aten.sub.Tensor(%7, %8) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %14 = aten.sub.Tensor(%9, %8) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %15 = aten.div.Tensor(%13, %14) : (tensor<12xf32>, tensor<f32>) -> tensor<12xf32>
  %16 = aten.mul.Tensor(%15, 4) : (tensor<12xf32>) -> tensor<12xf32>
  %17 = aten.floor(%16) {stream.label = "side"} : (tensor<12xf32>) -> tensor<12xf32>
  %18 = aten.clamp(%17, min = 0, max = 3) : (tensor<12xf32>) -> tensor<12xf32>
  %19 = aten._to_copy(%12, dtype = f32) : (tensor<12xi1>) -> tensor<12xf32>
  %20 = aten.zeros_like(%18) : (tensor<12xf32>) -> tensor<12xf32>
  %21 = aten.where.self(%12, %18, %20) : (tensor<12xi1>, tensor<12xf32>, tensor<12xf32>) -> tensor<12xf32>
  %22 = aten._to_copy(%21, dtype = i64) : (tensor<12xf32>) -> tensor<12xi64>
  %23 = aten.new_zeros(%7, size = [4]) : (tensor<12xf32>) -> tensor<4xf32>
  %24 = aten.scatter_add(%23, dim = 0, index = %22, src = %19) : (tensor<4xf32>, tensor<12xi64>, tensor<12xf32>) -> tensor<4xf32>
  %25 = aten.cumsum(%24, dim = 0, dtype = i32) : (tensor<4xf32>) -> tensor<4xi32>
  %26 = aten._grouped_mm(%4, %e, offs = %25) : (tensor<12x8xbf16>, tensor<4x8x8xbf16>, tensor<4xi32>) -> tensor<12x8xbf16>
  %27 = aten.unsqueeze(%6, dim = -1) : (tensor<12xf32>) -> tensor<12x1xf32>
  %28 = aten.mul.Tensor(%26, %27) : (tensor<12x8xbf16>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %29 = aten.empty_like(%2) : (tensor<12xi64>) -> tensor<12xi64>
  %30 = aten.arange(end = 12) : () -> tensor<12xi64>
  %31 = aten.index_put(%29, indices = [%2], values = %30) : (tensor<12xi64>, tensor<12xi64>, tensor<12xi64>) -> tensor<12xi64>
  %32 = aten.index.Tensor(%28, indices = [%31]) : (tensor<12x8xf32>, tensor<12xi64>) -> tensor<12x8xf32>
  %33 = aten.view(%32, size = [6, 2, 8]) : (tensor<12x8xf32>) -> tensor<6x2x8xf32>
  %34 = aten.sum.dim_IntList(%33, dim = [1]) : (tensor<6x2x8xf32>) -> tensor<6x8xf32>
  %35 = aten._to_copy(%34, dtype = bf16) : (tensor<6x8xf32>) -> tensor<6x8xbf16>
  func.return %35 : tensor<6x8xbf16>
}
