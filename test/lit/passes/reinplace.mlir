// RUN: torchair-opt %s -p reinplace --split-input-file | filecheck %s

// CHECK-LABEL: @index_put
// CHECK-NEXT: %0 = aten.index_put_(%cache, indices = [%i], values = %v)
// CHECK-NEXT: aten.relu(%0)
// CHECK-NOT: aten.copy_
func.func @index_put(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<8x4xf32> {
  %0 = aten.index_put(%cache, [%i], %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %1 = aten.relu(%0) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = aten.copy_(%cache, %0) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %1 : tensor<8x4xf32>
}

// -----

// CHECK-LABEL: @slice_scatter
// CHECK-NEXT: %0 = aten.slice.Tensor(%cache, start = 2, end = 4)
// CHECK-NEXT: aten.copy_(%0, %v)
// CHECK-NEXT: func.return
func.func @slice_scatter(%cache: tensor<8x4xf32>, %v: tensor<2x4xf32>) {
  %0 = aten.slice_scatter(%cache, %v, start = 2, end = 4) : (tensor<8x4xf32>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %1 = aten.copy_(%cache, %0) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return
}

// -----

// What functionalisation makes of a custom operator that writes.
// CHECK-LABEL: @custom_operator
// CHECK-NEXT: npu.scatter_update_(%cache, %i, %v, axis = 1)
// CHECK-NEXT: func.return
func.func @custom_operator(%cache: tensor<8x4xf32>, %i: tensor<8xi64>, %v: tensor<8x1xf32>) {
  %0 = aten.clone(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = npu.scatter_update_(%0, %i, %v, axis = 1) : (tensor<8x4xf32>, tensor<8xi64>, tensor<8x1xf32>) -> tensor<8x4xf32>
  %2 = aten.copy_(%cache, %0) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return
}

// -----

// CHECK-LABEL: @negative_old_value_is_read_later
// CHECK: aten.index_put(%cache
// CHECK: aten.copy_
func.func @negative_old_value_is_read_later(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<8x4xf32> {
  %0 = aten.index_put(%cache, [%i], %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %1 = aten.relu(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = aten.copy_(%cache, %0) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %1 : tensor<8x4xf32>
}

// -----

// A view of the old value is read later.
// CHECK-LABEL: @negative_view_is_read_later
// CHECK: aten.index_put(%cache
// CHECK: aten.copy_
func.func @negative_view_is_read_later(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<32xf32> {
  %0 = aten.view(%cache, size = [32]) : (tensor<8x4xf32>) -> tensor<32xf32>
  %1 = aten.index_put(%cache, [%i], %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %2 = aten.relu(%0) : (tensor<32xf32>) -> tensor<32xf32>
  %3 = aten.copy_(%cache, %1) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %2 : tensor<32xf32>
}

// -----

// The caller gets a tensor of its own.
// CHECK-LABEL: @negative_returned
// CHECK: aten.index_put(%cache
// CHECK: aten.copy_
func.func @negative_returned(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<8x4xf32> {
  %0 = aten.index_put(%cache, [%i], %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %1 = aten.copy_(%cache, %0) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %0 : tensor<8x4xf32>
}

// -----

// CHECK-LABEL: @negative_values_are_the_target
// CHECK: aten.index_put(%cache
// CHECK: aten.copy_
func.func @negative_values_are_the_target(%cache: tensor<2x4xf32>, %i: tensor<2xi64>) {
  %0 = aten.index_put(%cache, [%i], %cache) : (tensor<2x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = aten.copy_(%cache, %0) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  func.return
}

// -----

// Every update of a chain is made in place; what is between two of them is read in time.
// CHECK-LABEL: @chain
// CHECK-NEXT: aten.select.int(%cache, dim = 1, index = 2)
// CHECK-NEXT: aten.copy_(
// CHECK-NEXT: %[[SUM:.*]] = aten.sum(%cache)
// CHECK-NEXT: %[[M:.*]] = aten.mul_.Tensor(%cache, 2)
// CHECK-NEXT: aten.index_copy_(%[[M]], dim = 0, index = %i, source = %v)
// CHECK-NEXT: func.return %[[SUM]]
func.func @chain(%cache: tensor<8x4xf32>, %c: tensor<8xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<f32> {
  %0 = aten.select_scatter(%cache, %c, 1, 2) : (tensor<8x4xf32>, tensor<8xf32>) -> tensor<8x4xf32>
  %1 = aten.sum(%0) : (tensor<8x4xf32>) -> tensor<f32>
  %2 = aten.mul.Tensor(%0, 2) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %3 = aten.index_copy(%2, 0, %i, %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %4 = aten.copy_(%cache, %3) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %1 : tensor<f32>
}

// -----

// CHECK-LABEL: @negative_value_of_a_chain_is_read_later
// CHECK: aten.mul.Tensor(%cache
// CHECK: aten.copy_
func.func @negative_value_of_a_chain_is_read_later(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<f32> {
  %0 = aten.mul.Tensor(%cache, 2) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = aten.index_copy(%0, 0, %i, %v) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %2 = aten.sum(%0) : (tensor<8x4xf32>) -> tensor<f32>
  %3 = aten.copy_(%cache, %1) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return %2 : tensor<f32>
}

// -----

// CHECK-LABEL: @negative_values_are_a_view_of_the_target
// CHECK: aten.index_copy(%cache
// CHECK: aten.copy_
func.func @negative_values_are_a_view_of_the_target(%cache: tensor<8x4xf32>, %i: tensor<2xi64>) {
  %0 = aten.slice.Tensor(%cache, start = 1, end = 3) : (tensor<8x4xf32>) -> tensor<2x4xf32>
  %1 = aten.index_copy(%cache, 0, %i, %0) : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %2 = aten.copy_(%cache, %1) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  func.return
}
