// RUN: torchair-opt %s -p fuse-gated-activation,dce --split-input-file | filecheck %s

// CHECK-LABEL: @swiglu_by_split
// CHECK-NEXT: npu.npu_swiglu(%x, dim = 1) : (tensor<4x16xf16>) -> tensor<4x8xf16>
// CHECK-NEXT: func.return
func.func @swiglu_by_split(%x: tensor<4x16xf16>) -> tensor<4x8xf16> {
  %a, %b = aten.split.Tensor(%x, split_size = 8, dim = -1) : (tensor<4x16xf16>) -> (tensor<4x8xf16>, tensor<4x8xf16>)
  %0 = aten.silu(%a) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.mul.Tensor(%b, %0) : (tensor<4x8xf16>, tensor<4x8xf16>) -> tensor<4x8xf16>
  func.return %1 : tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @swiglu_by_slices
// CHECK-NEXT: npu.npu_swiglu(%x, dim = 1)
func.func @swiglu_by_slices(%x: tensor<?x16xf32, ["s0", "16"]>) -> tensor<?x8xf32, ["s0", "8"]> {
  %a = aten.slice.Tensor(%x, dim = 1, start = 0, end = 8) : (tensor<?x16xf32, ["s0", "16"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %b = aten.slice.Tensor(%x, dim = 1, start = 8, end = 9223372036854775807) : (tensor<?x16xf32, ["s0", "16"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %0 = aten.silu(%a) : (tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  %1 = aten.mul.Tensor(%0, %b) : (tensor<?x8xf32, ["s0", "8"]>, tensor<?x8xf32, ["s0", "8"]>) -> tensor<?x8xf32, ["s0", "8"]>
  func.return %1 : tensor<?x8xf32, ["s0", "8"]>
}

// -----

// CHECK-LABEL: @geglu
// CHECK-NEXT: npu.npu_geglu(%x, dim = 1) : (tensor<4x16xf16>) -> (tensor<4x8xf16>, tensor<4x8xf16>)
func.func @geglu(%x: tensor<4x16xf16>) -> tensor<4x8xf16> {
  %a, %b = aten.split.Tensor(%x, split_size = 8, dim = -1) : (tensor<4x16xf16>) -> (tensor<4x8xf16>, tensor<4x8xf16>)
  %0 = aten.gelu(%b, approximate = "tanh") : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.mul.Tensor(%a, %0) : (tensor<4x8xf16>, tensor<4x8xf16>) -> tensor<4x8xf16>
  func.return %1 : tensor<4x8xf16>
}

// -----

// The upper half is activated: SwiGLU activates the lower one.
// CHECK-LABEL: @negative_other_half
// CHECK-NOT: npu.
func.func @negative_other_half(%x: tensor<4x16xf16>) -> tensor<4x8xf16> {
  %a, %b = aten.split.Tensor(%x, split_size = 8, dim = -1) : (tensor<4x16xf16>) -> (tensor<4x8xf16>, tensor<4x8xf16>)
  %0 = aten.silu(%b) : (tensor<4x8xf16>) -> tensor<4x8xf16>
  %1 = aten.mul.Tensor(%a, %0) : (tensor<4x8xf16>, tensor<4x8xf16>) -> tensor<4x8xf16>
  func.return %1 : tensor<4x8xf16>
}

// -----

// CHECK-LABEL: @negative_overlapping_slices
// CHECK-NOT: npu.
func.func @negative_overlapping_slices(%x: tensor<4x16xf32>) -> tensor<4x8xf32> {
  %a = aten.slice.Tensor(%x, dim = 1, start = 0, end = 8) : (tensor<4x16xf32>) -> tensor<4x8xf32>
  %b = aten.slice.Tensor(%x, dim = 1, start = 7, end = 15) : (tensor<4x16xf32>) -> tensor<4x8xf32>
  %0 = aten.silu(%a) : (tensor<4x8xf32>) -> tensor<4x8xf32>
  %1 = aten.mul.Tensor(%0, %b) : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  func.return %1 : tensor<4x8xf32>
}
