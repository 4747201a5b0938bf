// RUN: torchair-opt %s -p ge-reinplace --split-input-file | filecheck %s

// CHECK-LABEL: @update_of_an_input
// CHECK-NEXT: %0 = ge.Scatter(%cache, %i, %v
// CHECK-NEXT: ge.NetOutput([%0])
func.func @update_of_an_input(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<8x4xf32> {
  %1 = ge.TensorMove(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = ge.Scatter(%1, %i, %v, reduce = "update") : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %3 = ge.Assign(%cache, %2) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  ge.NetOutput([%2]) : (tensor<8x4xf32>) -> ()
}

// -----

// A read before the first write sees the old value in any case.
// CHECK-LABEL: @read_before_the_write
// CHECK-NEXT: ge.Relu(%cache)
// CHECK-NEXT: ge.Scatter(%cache
// CHECK-NOT: ge.Assign
func.func @read_before_the_write(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %1 = ge.TensorMove(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %0 = ge.Relu(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = ge.Scatter(%1, %i, %v, reduce = "update") : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %3 = ge.Assign(%cache, %2) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  ge.NetOutput([%0, %2]) : (tensor<8x4xf32>, tensor<8x4xf32>) -> ()
}

// -----

// CHECK-LABEL: @negative_old_value_is_read_later
// CHECK: ge.TensorMove
// CHECK: ge.Assign
func.func @negative_old_value_is_read_later(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %1 = ge.TensorMove(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = ge.Scatter(%1, %i, %v, reduce = "update") : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %0 = ge.Relu(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %3 = ge.Assign(%cache, %2) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  ge.NetOutput([%0, %2]) : (tensor<8x4xf32>, tensor<8x4xf32>) -> ()
}

// -----

// The input itself is what is written into it.
// CHECK-LABEL: @negative_read_while_written
// CHECK: ge.TensorMove
// CHECK: ge.Assign
func.func @negative_read_while_written(%cache: tensor<2x4xf32>, %i: tensor<2xi64>) -> tensor<2x4xf32> {
  %1 = ge.TensorMove(%cache) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = ge.Scatter(%1, %i, %cache, reduce = "update") : (tensor<2x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = ge.Assign(%cache, %2) : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  ge.NetOutput([%2]) : (tensor<2x4xf32>) -> ()
}

// -----

// The copy is written again after it was assigned.
// CHECK-LABEL: @negative_written_again
// CHECK: ge.TensorMove
// CHECK: ge.Assign
func.func @negative_written_again(%cache: tensor<8x4xf32>, %i: tensor<2xi64>, %v: tensor<2x4xf32>) -> tensor<8x4xf32> {
  %1 = ge.TensorMove(%cache) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = ge.Scatter(%1, %i, %v, reduce = "update") : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  %3 = ge.Assign(%cache, %2) : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<8x4xf32>
  %4 = ge.Scatter(%2, %i, %v, reduce = "add") : (tensor<8x4xf32>, tensor<2xi64>, tensor<2x4xf32>) -> tensor<8x4xf32>
  ge.NetOutput([%4]) : (tensor<8x4xf32>) -> ()
}
