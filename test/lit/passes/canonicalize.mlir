// RUN: torchair-opt %s -p canonicalize,dce --split-input-file | filecheck %s

// CHECK-LABEL: func.func @aliases
// CHECK-NEXT: aten.relu(%x)
// CHECK-NEXT: func.return
func.func @aliases(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.alias(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.detach(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.relu(%1) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @view_chain
// CHECK-NEXT: aten.view(%x, size = [2, 3, 4]) : (tensor<6x4xf32>) -> tensor<2x3x4xf32>
// CHECK-NEXT: func.return
func.func @view_chain(%x: tensor<6x4xf32>) -> tensor<2x3x4xf32> {
  %0 = aten._unsafe_view(%x, size = [24]) : (tensor<6x4xf32>) -> tensor<24xf32>
  %1 = aten.unsqueeze(%0, dim = 0) : (tensor<24xf32>) -> tensor<1x24xf32>
  %2 = aten.view(%1, size = [2, 3, 4]) : (tensor<1x24xf32>) -> tensor<2x3x4xf32>
  func.return %2 : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @view_back_to_symbolic_type
// CHECK-NEXT: func.return %x
func.func @view_back_to_symbolic_type(%x: tensor<?x4xf32, ["s0", "4"]>, %s: i64) -> tensor<?x4xf32, ["s0", "4"]> {
  %0 = aten.view(%x, size = [-1]) : (tensor<?x4xf32, ["s0", "4"]>) -> tensor<?xf32, ["4*s0"]>
  %1 = aten.view(%0, size = [%s, 4]) : (tensor<?xf32, ["4*s0"]>, i64) -> tensor<?x4xf32, ["s0", "4"]>
  func.return %1 : tensor<?x4xf32, ["s0", "4"]>
}

// -----

// Without symbols two unknown sizes may differ.
// CHECK-LABEL: func.func @negative_view_to_unknown_sizes
// CHECK-NEXT: aten.view(%x, size = [%s, %t])
// CHECK-NEXT: func.return
func.func @negative_view_to_unknown_sizes(%x: tensor<?x?xf32>, %s: i64, %t: i64) -> tensor<?x?xf32> {
  %0 = aten.view(%x, size = [%s, %t]) : (tensor<?x?xf32>, i64, i64) -> tensor<?x?xf32>
  func.return %0 : tensor<?x?xf32>
}

// -----

// A reshape may copy, so it is no link of a chain.
// CHECK-LABEL: func.func @negative_view_of_reshape
// CHECK-NEXT: aten.reshape
// CHECK-NEXT: aten.view
func.func @negative_view_of_reshape(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = aten.reshape(%x, shape = [6]) : (tensor<2x3xf32>) -> tensor<6xf32>
  %1 = aten.view(%0, size = [2, 3]) : (tensor<6xf32>) -> tensor<2x3xf32>
  func.return %1 : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: func.func @squeeze_of_unsqueeze
// CHECK-NEXT: func.return %x
func.func @squeeze_of_unsqueeze(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = aten.unsqueeze(%x, dim = -1) : (tensor<2x3xf32>) -> tensor<2x3x1xf32>
  %1 = aten.squeeze.dim(%0, dim = 2) : (tensor<2x3x1xf32>) -> tensor<2x3xf32>
  func.return %1 : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: func.func @transpose_twice
// CHECK-NEXT: func.return %x
func.func @transpose_twice(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %0 = aten.transpose.int(%x, dim0 = 1, dim1 = -1) : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
  %1 = aten.permute(%0, dims = [0, 2, 1]) : (tensor<2x4x3xf32>) -> tensor<2x3x4xf32>
  func.return %1 : tensor<2x3x4xf32>
}

// -----

// CHECK-LABEL: func.func @permutation_chain
// CHECK-NEXT: aten.permute(%x, dims = [2, 0, 1]) : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
// CHECK-NEXT: func.return
func.func @permutation_chain(%x: tensor<2x3x4xf32>) -> tensor<4x2x3xf32> {
  %0 = aten.permute(%x, dims = [1, 2, 0]) : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  %1 = aten.permute(%0, dims = [1, -1, 0]) : (tensor<3x4x2xf32>) -> tensor<4x2x3xf32>
  func.return %1 : tensor<4x2x3xf32>
}

// -----

// Equal sizes do not make a transpose an identity.
// CHECK-LABEL: func.func @negative_square_transpose
// CHECK-NEXT: aten.t(%x)
func.func @negative_square_transpose(%x: tensor<3x3xf32>) -> tensor<3x3xf32> {
  %0 = aten.t(%x) : (tensor<3x3xf32>) -> tensor<3x3xf32>
  func.return %0 : tensor<3x3xf32>
}

// -----

// CHECK-LABEL: func.func @expand
// CHECK-NEXT: aten.expand(%x, size = [5, 2, 4]) : (tensor<1x4xf32>) -> tensor<5x2x4xf32>
// CHECK-NEXT: func.return
func.func @expand(%x: tensor<1x4xf32>) -> tensor<5x2x4xf32> {
  %0 = aten.expand(%x, size = [-1, 4]) : (tensor<1x4xf32>) -> tensor<1x4xf32>
  %1 = aten.expand(%0, size = [2, 4]) : (tensor<1x4xf32>) -> tensor<2x4xf32>
  %2 = aten.expand(%1, size = [5, 2, 4]) : (tensor<2x4xf32>) -> tensor<5x2x4xf32>
  func.return %2 : tensor<5x2x4xf32>
}

// -----

// -1 keeps a size of the inner expand, which the source does not have.
// CHECK-LABEL: func.func @negative_expand_keeps_inner_size
// CHECK-NEXT: aten.expand(%x, size = [2, 4])
// CHECK-NEXT: aten.expand(%0, size = [5, -1, 4])
func.func @negative_expand_keeps_inner_size(%x: tensor<1x4xf32>) -> tensor<5x2x4xf32> {
  %0 = aten.expand(%x, size = [2, 4]) : (tensor<1x4xf32>) -> tensor<2x4xf32>
  %1 = aten.expand(%0, size = [5, -1, 4]) : (tensor<2x4xf32>) -> tensor<5x2x4xf32>
  func.return %1 : tensor<5x2x4xf32>
}

// -----

// CHECK-LABEL: func.func @whole_slice
// CHECK-NEXT: func.return %x, %x
func.func @whole_slice(%x: tensor<?x4xf32, ["s0", "4"]>) -> (tensor<?x4xf32, ["s0", "4"]>, tensor<?x4xf32, ["s0", "4"]>) {
  %0 = aten.slice.Tensor(%x, start = 0, end = 9223372036854775807) : (tensor<?x4xf32, ["s0", "4"]>) -> tensor<?x4xf32, ["s0", "4"]>
  %1 = aten.split.Tensor(%x, split_size = 4, dim = 1) : (tensor<?x4xf32, ["s0", "4"]>) -> tensor<?x4xf32, ["s0", "4"]>
  func.return %0, %1 : tensor<?x4xf32, ["s0", "4"]>, tensor<?x4xf32, ["s0", "4"]>
}

// -----

// CHECK-LABEL: func.func @negative_part_of_a_slice
// CHECK-NEXT: aten.slice.Tensor(%x, dim = 1, start = 1, end = 3)
func.func @negative_part_of_a_slice(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %0 = aten.slice.Tensor(%x, dim = 1, start = 1, end = 3) : (tensor<2x4xf32>) -> tensor<2x2xf32>
  func.return %0 : tensor<2x2xf32>
}

// -----

// CHECK-LABEL: func.func @copy_of_intermediate
// CHECK-NEXT: aten.relu(%x)
// CHECK-NEXT: aten.neg(%0)
// CHECK-NEXT: func.return
func.func @copy_of_intermediate(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.clone(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten._to_copy(%1, dtype = f32) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.neg(%2) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %3 : tensor<4xf32>
}

// -----

// The caller may write what it gets, so a returned copy stays a copy, views of it included.
// CHECK-LABEL: func.func @negative_returned_copy
// CHECK-NEXT: aten.relu
// CHECK-NEXT: aten.clone
// CHECK-NEXT: aten.view
func.func @negative_returned_copy(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<2x2xf32>) {
  %0 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.clone(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.view(%1, size = [2, 2]) : (tensor<4xf32>) -> tensor<2x2xf32>
  func.return %0, %2 : tensor<4xf32>, tensor<2x2xf32>
}

// -----

// The copy holds what the argument was before it is written.
// CHECK-LABEL: func.func @negative_copy_of_written_argument
// CHECK-NEXT: aten.clone(%x)
// CHECK-NEXT: aten.copy_(%x, %y)
// CHECK-NEXT: aten.neg
func.func @negative_copy_of_written_argument(%x: tensor<f32>, %y: tensor<f32>) -> tensor<f32> {
  %0 = aten.clone(%x) : (tensor<f32>) -> tensor<f32>
  %1 = aten.copy_(%x, %y) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %2 = aten.neg(%0) : (tensor<f32>) -> tensor<f32>
  func.return %2 : tensor<f32>
}

// -----

// Writing through a view writes the source.
// CHECK-LABEL: func.func @negative_copy_of_argument_written_through_a_view
// CHECK-NEXT: aten.view
// CHECK-NEXT: aten.clone(%x)
func.func @negative_copy_of_argument_written_through_a_view(%x: tensor<1xf32>, %y: tensor<f32>) -> tensor<f32> {
  %0 = aten.view(%x, size = []) : (tensor<1xf32>) -> tensor<f32>
  %1 = aten.clone(%x) : (tensor<1xf32>) -> tensor<1xf32>
  %2 = aten.copy_(%0, %y) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %3 = aten.sum(%1) : (tensor<1xf32>) -> tensor<f32>
  func.return %3 : tensor<f32>
}

// -----

// The strides of an argument are unknown, and a view may need those of the copy.
// CHECK-LABEL: func.func @negative_copy_with_other_strides
// CHECK-NEXT: aten.clone(%x)
// CHECK-NEXT: aten.t(%0)
// CHECK-NEXT: aten.clone(%1, memory_format = "contiguous_format")
func.func @negative_copy_with_other_strides(%x: tensor<2x3xf32>) -> tensor<6xf32> {
  %0 = aten.clone(%x) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %1 = aten.t(%0) : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %2 = aten.clone(%1, memory_format = "contiguous_format") : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %3 = aten.view(%2, size = [6]) : (tensor<3x2xf32>) -> tensor<6xf32>
  %4 = aten.neg(%3) : (tensor<6xf32>) -> tensor<6xf32>
  func.return %4 : tensor<6xf32>
}

// -----

// CHECK-LABEL: func.func @contiguous_copy_of_contiguous_result
// CHECK-NEXT: aten.mm
// CHECK-NEXT: aten.view(%0
func.func @contiguous_copy_of_contiguous_result(%x: tensor<2x3xf32>, %y: tensor<3x4xf32>) -> tensor<8xf32> {
  %0 = aten.mm(%x, %y) : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
  %1 = aten.clone(%0, memory_format = "contiguous_format") : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = aten.view(%1, size = [8]) : (tensor<2x4xf32>) -> tensor<8xf32>
  %3 = aten.neg(%2) : (tensor<8xf32>) -> tensor<8xf32>
  func.return %3 : tensor<8xf32>
}

// -----

// A cache update that covers the whole buffer.
// CHECK-LABEL: func.func @whole_slice_scatter
// CHECK-NEXT: aten.relu(%y)
// CHECK-NEXT: aten.copy_(%cache, %0)
// CHECK-NEXT: func.return
func.func @whole_slice_scatter(%cache: tensor<2x8xf32>, %y: tensor<2x8xf32>) {
  %0 = aten.relu(%y) : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = aten.slice_scatter(%cache, %0, dim = 0, start = 0, end = 9223372036854775807) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = aten.copy_(%cache, %1) : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  func.return
}

// -----

// CHECK-LABEL: func.func @copy_onto_itself
// CHECK-NEXT: func.return
func.func @copy_onto_itself(%x: tensor<4xf32>) {
  %0 = aten.alias(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.copy_(%x, %0) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK-LABEL: func.func @operators_that_are_copies
// CHECK-NEXT: %0 = aten.relu(%x)
// CHECK-NEXT: aten.sum(%0)
// CHECK-NEXT: func.return
func.func @operators_that_are_copies(%x: tensor<f32>) -> tensor<f32> {
  %0 = aten.relu(%x) : (tensor<f32>) -> tensor<f32>
  %1 = aten.constant_pad_nd(%0, pad = []) : (tensor<f32>) -> tensor<f32>
  %2, %3 = aten.native_dropout(%1, p = 0.5, train = false) : (tensor<f32>) -> (tensor<f32>, tensor<i1>)
  %4 = aten.sum(%2) : (tensor<f32>) -> tensor<f32>
  func.return %4 : tensor<f32>
}

// -----

// CHECK-LABEL: func.func @negative_dropout_in_training
// CHECK-NEXT: aten.native_dropout
func.func @negative_dropout_in_training(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0, %1 = aten.native_dropout(%x, p = 0.5, train = true) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xi1>)
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @cat_and_repeat_of_one
// CHECK-NEXT: aten.clone(%x, memory_format = "contiguous_format")
// CHECK-NEXT: aten.clone(%x, memory_format = "contiguous_format")
// CHECK-NEXT: func.return
func.func @cat_and_repeat_of_one(%x: tensor<4x2xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %0 = aten.cat([%x], dim = 1) : (tensor<4x2xf32>) -> tensor<4x2xf32>
  %1 = aten.repeat(%x, repeats = [1, 1]) : (tensor<4x2xf32>) -> tensor<4x2xf32>
  func.return %0, %1 : tensor<4x2xf32>, tensor<4x2xf32>
}

// -----

// CHECK-LABEL: func.func @widening_cast_and_back
// CHECK-NEXT: aten.relu
// CHECK-NEXT: aten.neg(%0) : (tensor<4xbf16>) -> tensor<4xbf16>
func.func @widening_cast_and_back(%x: tensor<4xbf16>) -> tensor<4xbf16> {
  %0 = aten.relu(%x) : (tensor<4xbf16>) -> tensor<4xbf16>
  %1 = aten._to_copy(%0, dtype = f32) : (tensor<4xbf16>) -> tensor<4xf32>
  %2 = prims.convert_element_type(%1, dtype = bf16) : (tensor<4xf32>) -> tensor<4xbf16>
  %3 = aten.neg(%2) : (tensor<4xbf16>) -> tensor<4xbf16>
  func.return %3 : tensor<4xbf16>
}

// -----

// CHECK-LABEL: func.func @casts_that_lose_nothing
// CHECK-NEXT: prims.convert_element_type(%x, dtype = f64) : (tensor<4xi32>) -> tensor<4xf64>
// CHECK-NEXT: func.return
func.func @casts_that_lose_nothing(%x: tensor<4xi32>) -> tensor<4xf64> {
  %0 = prims.convert_element_type(%x, dtype = i64) : (tensor<4xi32>) -> tensor<4xi64>
  %1 = prims.convert_element_type(%0, dtype = f64) : (tensor<4xi64>) -> tensor<4xf64>
  func.return %1 : tensor<4xf64>
}

// -----

// CHECK-LABEL: func.func @negative_narrowing_cast
// CHECK-NEXT: dtype = f16
// CHECK-NEXT: dtype = f32
func.func @negative_narrowing_cast(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = prims.convert_element_type(%x, dtype = f16) : (tensor<4xf32>) -> tensor<4xf16>
  %1 = prims.convert_element_type(%0, dtype = f32) : (tensor<4xf16>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// A cast that also moves the tensor is more than a cast.
// CHECK-LABEL: func.func @negative_cast_to_a_device
// CHECK-NEXT: aten._to_copy(%x, dtype = f32, device = "cpu")
func.func @negative_cast_to_a_device(%x: tensor<f32>) -> tensor<f32> {
  %0 = aten._to_copy(%x, dtype = f32, device = "cpu") : (tensor<f32>) -> tensor<f32>
  %1 = aten.neg(%0) : (tensor<f32>) -> tensor<f32>
  func.return %1 : tensor<f32>
}

// -----

// CHECK-LABEL: func.func @exact_identities
// CHECK-NEXT: aten.relu
// CHECK-NEXT: aten.exp(%0)
// CHECK-NEXT: func.return
func.func @exact_identities(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.mul.Tensor(%0, 1.0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.div.Tensor(%1, 1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.sub.Tensor(%2, 0) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = aten.pow.Tensor_Scalar(%3, exponent = 1) : (tensor<4xf32>) -> tensor<4xf32>
  %5 = aten.neg(%4) : (tensor<4xf32>) -> tensor<4xf32>
  %6 = aten.neg(%5) : (tensor<4xf32>) -> tensor<4xf32>
  %7 = aten.add.Tensor(%6, -0.0) : (tensor<4xf32>) -> tensor<4xf32>
  %8 = aten.exp(%7) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %8 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @sum_with_zero_of_integers
// CHECK-NEXT: aten.abs
// CHECK-NEXT: aten.neg(%0)
func.func @sum_with_zero_of_integers(%x: tensor<4xi64>) -> tensor<4xi64> {
  %0 = aten.abs(%x) : (tensor<4xi64>) -> tensor<4xi64>
  %1 = aten.add.Tensor(%0, 0) : (tensor<4xi64>) -> tensor<4xi64>
  %2 = aten.neg(%1) : (tensor<4xi64>) -> tensor<4xi64>
  func.return %2 : tensor<4xi64>
}

// -----

// -0.0 + 0.0 is 0.0, and so is -0.0 - -0.0.
// CHECK-LABEL: func.func @negative_signed_zero
// CHECK: aten.add.Tensor(%0, 0)
// CHECK: aten.sub.Tensor(%1, -0.0)
func.func @negative_signed_zero(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.neg(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.add.Tensor(%0, 0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.sub.Tensor(%1, -0.0) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.exp(%2) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %3 : tensor<4xf32>
}

// -----

// The quotient of integers is a float; an infinite factor makes a complex product nan.
// CHECK-LABEL: func.func @negative_identities_that_are_none
// CHECK: aten.div.Tensor
// CHECK: aten.mul.Tensor
func.func @negative_identities_that_are_none(%x: tensor<4xi64>, %c: tensor<f32>) -> (tensor<4xf32>, tensor<complex<f32>>) {
  %0 = aten.div.Tensor(%x, 1) : (tensor<4xi64>) -> tensor<4xf32>
  %1 = aten.complex(%c, %c) : (tensor<f32>, tensor<f32>) -> tensor<complex<f32>>
  %2 = aten.mul.Tensor(%1, 1) : (tensor<complex<f32>>) -> tensor<complex<f32>>
  func.return %0, %2 : tensor<4xf32>, tensor<complex<f32>>
}

// -----

// CHECK-LABEL: func.func @known_sizes
// CHECK-NEXT: aten.view(%x, size = [12, %s])
// CHECK-NEXT: func.return
func.func @known_sizes(%x: tensor<3x?xf32, ["3", "s0"]>, %s: i64) -> tensor<12x?xf32> {
  %0 = aten.sym_size.int(%x, dim = 0) : (tensor<3x?xf32, ["3", "s0"]>) -> i64
  %1 = sym.mul(a = %0, b = 4) : (i64) -> i64
  %2 = sym.floordiv(a = %s, b = 1) : (i64) -> i64
  %3 = sym.mul(a = %2, b = 8) : (i64) -> i64
  %4 = sym.floordiv(a = %3, b = 8) : (i64) -> i64
  %5 = aten.view(%x, size = [%1, %4]) : (tensor<3x?xf32, ["3", "s0"]>, i64, i64) -> tensor<12x?xf32>
  func.return %5 : tensor<12x?xf32>
}

// -----

// CHECK-LABEL: func.func @size_arithmetic
// CHECK-NEXT: func.return %s, %t
func.func @size_arithmetic(%s: i64, %t: i64) -> (i64, i64) {
  %0 = sym.add(a = %s, b = %t) : (i64, i64) -> i64
  %1 = sym.sub(a = %0, b = %t) : (i64, i64) -> i64
  %2 = sym.add(a = 0, b = %t) : (i64) -> i64
  %3 = sym.sub(a = %2, b = 0) : (i64) -> i64
  func.return %1, %3 : i64, i64
}

// -----

// A known size that is returned has to be a value.
// CHECK-LABEL: func.func @negative_returned_size
// CHECK-NEXT: aten.sym_size.int
// CHECK-NEXT: func.return
func.func @negative_returned_size(%x: tensor<3xf32>) -> i64 {
  %0 = aten.sym_size.int(%x, dim = 0) : (tensor<3xf32>) -> i64
  func.return %0 : i64
}

// -----

// s // 8 * 8 is not s, and a division by zero is left to fail where it stands.
// CHECK-LABEL: func.func @negative_rounding_division
// CHECK-NEXT: sym.floordiv(a = %s, b = 8)
// CHECK-NEXT: sym.mul(a = %0, b = 8)
// CHECK-NEXT: sym.floordiv(a = %s, b = 0)
func.func @negative_rounding_division(%s: i64) -> (i64, i64) {
  %0 = sym.floordiv(a = %s, b = 8) : (i64) -> i64
  %1 = sym.mul(a = %0, b = 8) : (i64) -> i64
  %2 = sym.floordiv(a = %s, b = 0) : (i64) -> i64
  func.return %1, %2 : i64, i64
}
