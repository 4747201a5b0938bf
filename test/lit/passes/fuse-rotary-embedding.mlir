// RUN: torchair-opt %s -p fuse-rotary-embedding,dce --split-input-file | filecheck %s

// The tables of two dimensions get the rank of the operand.
// CHECK-LABEL: @half_layout
// CHECK-DAG: aten.unsqueeze(%cos, dim = 0)
// CHECK-DAG: aten.unsqueeze(%sin, dim = 0)
// CHECK: npu.npu_rotary_mul(%x, %{{.*}}, %{{.*}}) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>, tensor<1x1x?x16xf16, ["1", "1", "s0", "16"]>
// CHECK-NEXT: func.return
func.func @half_layout(%x: tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>, %cos: tensor<?x16xf16, ["s0", "16"]>, %sin: tensor<?x16xf16, ["s0", "16"]>) -> tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]> {
  %0 = aten.slice.Tensor(%x, dim = 3, start = 8, end = 9223372036854775807) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>) -> tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>
  %1 = aten.neg(%0) : (tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>) -> tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>
  %2 = aten.slice.Tensor(%x, dim = 3, start = 0, end = 8) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>) -> tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>
  %3 = aten.cat([%1, %2], dim = -1) : (tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>, tensor<2x4x?x8xf16, ["2", "4", "s0", "8"]>) -> tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>
  %4 = aten.mul.Tensor(%x, %cos) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>, tensor<?x16xf16, ["s0", "16"]>) -> tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>
  %5 = aten.mul.Tensor(%3, %sin) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>, tensor<?x16xf16, ["s0", "16"]>) -> tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>
  %6 = aten.add.Tensor(%4, %5) : (tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>, tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>) -> tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>
  func.return %6 : tensor<2x4x?x16xf16, ["2", "4", "s0", "16"]>
}

// -----

// The halves of another tensor are turned.
// CHECK-LABEL: @negative_other_tensor
// CHECK-NOT: npu.
func.func @negative_other_tensor(%x: tensor<2x4x3x16xf16>, %z: tensor<2x4x3x16xf16>, %cos: tensor<2x1x3x16xf16>, %sin: tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16> {
  %a, %b = aten.split.Tensor(%z, split_size = 8, dim = -1) : (tensor<2x4x3x16xf16>) -> (tensor<2x4x3x8xf16>, tensor<2x4x3x8xf16>)
  %1 = aten.neg(%b) : (tensor<2x4x3x8xf16>) -> tensor<2x4x3x8xf16>
  %3 = aten.cat([%1, %a], dim = -1) : (tensor<2x4x3x8xf16>, tensor<2x4x3x8xf16>) -> tensor<2x4x3x16xf16>
  %4 = aten.mul.Tensor(%x, %cos) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %5 = aten.mul.Tensor(%3, %sin) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %6 = aten.add.Tensor(%4, %5) : (tensor<2x4x3x16xf16>, tensor<2x4x3x16xf16>) -> tensor<2x4x3x16xf16>
  func.return %6 : tensor<2x4x3x16xf16>
}

// -----

// The lower half is negated: a turn the other way.
// CHECK-LABEL: @negative_other_direction
// CHECK-NOT: npu.
func.func @negative_other_direction(%x: tensor<2x4x3x16xf16>, %cos: tensor<2x1x3x16xf16>, %sin: tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16> {
  %a, %b = aten.split.Tensor(%x, split_size = 8, dim = -1) : (tensor<2x4x3x16xf16>) -> (tensor<2x4x3x8xf16>, tensor<2x4x3x8xf16>)
  %1 = aten.neg(%a) : (tensor<2x4x3x8xf16>) -> tensor<2x4x3x8xf16>
  %3 = aten.cat([%1, %b], dim = -1) : (tensor<2x4x3x8xf16>, tensor<2x4x3x8xf16>) -> tensor<2x4x3x16xf16>
  %4 = aten.mul.Tensor(%x, %cos) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %5 = aten.mul.Tensor(%3, %sin) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %6 = aten.add.Tensor(%4, %5) : (tensor<2x4x3x16xf16>, tensor<2x4x3x16xf16>) -> tensor<2x4x3x16xf16>
  func.return %6 : tensor<2x4x3x16xf16>
}

// -----

// CHECK-LABEL: @interleaved_layout
// CHECK-NEXT: npu.npu_rotary_mul(%x, %cos, %sin, rotary_mode = "interleave")
// CHECK-NEXT: func.return
func.func @interleaved_layout(%x: tensor<2x4x3x16xf16>, %cos: tensor<2x1x3x16xf16>, %sin: tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16> {
  %0 = aten.slice.Tensor(%x, dim = 3, start = 1, end = 9223372036854775807, step = 2) : (tensor<2x4x3x16xf16>) -> tensor<2x4x3x8xf16>
  %1 = aten.neg(%0) : (tensor<2x4x3x8xf16>) -> tensor<2x4x3x8xf16>
  %2 = aten.slice.Tensor(%x, dim = 3, start = 0, end = 9223372036854775807, step = 2) : (tensor<2x4x3x16xf16>) -> tensor<2x4x3x8xf16>
  %3 = aten.stack([%1, %2], dim = -1) : (tensor<2x4x3x8xf16>, tensor<2x4x3x8xf16>) -> tensor<2x4x3x8x2xf16>
  %4 = aten.view(%3, size = [2, 4, 3, 16]) : (tensor<2x4x3x8x2xf16>) -> tensor<2x4x3x16xf16>
  %5 = aten.mul.Tensor(%x, %cos) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %6 = aten.mul.Tensor(%4, %sin) : (tensor<2x4x3x16xf16>, tensor<2x1x3x16xf16>) -> tensor<2x4x3x16xf16>
  %7 = aten.add.Tensor(%5, %6) : (tensor<2x4x3x16xf16>, tensor<2x4x3x16xf16>) -> tensor<2x4x3x16xf16>
  func.return %7 : tensor<2x4x3x16xf16>
}
