// RUN: torchair-opt %s --split-input-file | filecheck %s
// RUN: torchair-opt %s --split-input-file --print-op-generic | torchair-opt --split-input-file | filecheck %s

// CHECK-LABEL: func.func @graph
// CHECK-SAME: torchair.index = 3 : i64
// CHECK-NEXT: %0 = ge.MatMulV2(%x, %w, transpose_x2 = true) : (tensor<2x8xf16>, tensor<4x8xf16>) -> tensor<2x4xf16>
// CHECK-NEXT: ge.NetOutput([%0]) : (tensor<2x4xf16>) -> ()
func.func @graph(%x: tensor<2x8xf16> {torchair.index = 3 : i64}, %w: tensor<4x8xf16>) -> tensor<2x4xf16> {
  %0 = ge.MatMulV2(%x, %w, transpose_x2 = true) : (tensor<2x8xf16>, tensor<4x8xf16>) -> tensor<2x4xf16>
  ge.NetOutput([%0]) : (tensor<2x4xf16>) -> ()
}

// -----

// Control edges are trailing operands and results.
// CHECK-LABEL: func.func @control_edges
// CHECK-NEXT: %0, %1 = ge.Relu(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !ge.control)
// CHECK-NEXT: %2 = ge.Neg(%x) after [%1] : (tensor<4xf32>, !ge.control) -> tensor<4xf32>
// CHECK-NEXT: ge.NetOutput([%2])
func.func @control_edges(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0, %1 = ge.Relu(%x) : (tensor<4xf32>) -> (tensor<4xf32>, !ge.control)
  %2 = ge.Neg(%x) after [%1] : (tensor<4xf32>, !ge.control) -> tensor<4xf32>
  ge.NetOutput([%2]) : (tensor<4xf32>) -> ()
}

// -----

// Dynamic ports, optional ports in the middle, single-precision attributes, unknown shapes.
// CHECK-LABEL: func.func @ports_and_attributes
// CHECK-NEXT: ge.ConcatV2([%x, %x], %a, N = 2)
// CHECK-NEXT: ge.LeakyRelu(%x, negative_slope = 0.1)
// CHECK-NEXT: ge.Cast(%x, dst_type = 1)
func.func @ports_and_attributes(%x: tensor<4xf32>, %a: tensor<i64>) {
  %0 = ge.ConcatV2([%x, %x], concat_dim = %a, N = 2) : (tensor<4xf32>, tensor<4xf32>, tensor<i64>) -> tensor<8xf32>
  %1 = ge.LeakyRelu(%x, negative_slope = 0.1) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = ge.Cast(%x, dst_type = 1) : (tensor<4xf32>) -> tensor<*xf16>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK-LABEL: func.func @constants
// CHECK-NEXT: ge.Const(value = dense<[1, 2]> : tensor<2xi64>) : () -> tensor<2xi64>
// CHECK-NEXT: ge.Const(value = #torchair.weight<"w">) : () -> tensor<1024xf32>
func.func @constants() {
  %0 = ge.Const(value = dense<[1, 2]> : tensor<2xi64>) : () -> tensor<2xi64>
  %1 = ge.Const(value = #torchair.weight<"w">) : () -> tensor<1024xf32>
  ge.NetOutput([]) : () -> ()
}
