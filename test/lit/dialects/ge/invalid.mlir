// RUN: torchair-opt %s --split-input-file --verify-diagnostics --parsing-diagnostics | filecheck %s

// CHECK: Operation ge.NoSuchOp is not registered
func.func @unknown_type(%x: tensor<4xf32>) {
  %0 = ge.NoSuchOp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK: unknown argument 'slope' of ge.LeakyRelu(x)
func.func @unknown_attribute(%x: tensor<4xf32>) {
  %0 = ge.LeakyRelu(%x, slope = 0.1) : (tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK: input 'x1' of ge.MatMulV2 has dtype bool, allowed are
func.func @dtype_of_an_input(%x: tensor<4x4xi1>) {
  %0 = ge.MatMulV2(%x, %x) : (tensor<4x4xi1>, tensor<4x4xi1>) -> tensor<4x4xi1>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK: argument 'x2' of ge.MatMulV2(x1, x2, bias?, offset_w?) is missing
func.func @missing_input(%x: tensor<4x4xf16>) {
  %0 = ge.MatMulV2(%x) : (tensor<4x4xf16>) -> tensor<4x4xf16>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK: argument 'dst_type' of ge.Cast(x) is missing
func.func @missing_attribute(%x: tensor<4xf32>) {
  %0 = ge.Cast(%x) : (tensor<4xf32>) -> tensor<4xf16>
  ge.NetOutput([]) : () -> ()
}

// -----

// CHECK: 'ge.Relu' is malformed: the last operation of a block must be a terminator
func.func @no_terminator(%x: tensor<4xf32>) {
  %0 = ge.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
}
