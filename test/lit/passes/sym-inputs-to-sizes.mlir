// RUN: torchair-opt %s -p sym-inputs-to-sizes --split-input-file | filecheck %s

// CHECK-LABEL: func.func @size_of_an_input
// CHECK-NEXT: %s_1 = aten.sym_size.int(%x, dim = 1) : (tensor<4x?xf32, ["4", "s0"]>) -> i64
// CHECK-NEXT: aten.view(%x, size = [%s_1, 4])
func.func @size_of_an_input(
    %s: i64 {torchair.kind = "size", torchair.symbol = "s0"},
    %x: tensor<4x?xf32, ["4", "s0"]> {torchair.kind = "input"}) -> tensor<?x4xf32, ["s0", "4"]> {
  %0 = aten.view(%x, size = [%s, 4]) : (tensor<4x?xf32, ["4", "s0"]>, i64) -> tensor<?x4xf32, ["s0", "4"]>
  func.return %0 : tensor<?x4xf32, ["s0", "4"]>
}

// -----

// CHECK-LABEL: func.func @negative_no_input_has_the_symbol
// CHECK-NEXT: aten.view(%x, size = [%s, 4])
func.func @negative_no_input_has_the_symbol(
    %s: i64 {torchair.kind = "size", torchair.symbol = "s0"},
    %x: tensor<?xf32, ["4*s0"]> {torchair.kind = "input"}) -> tensor<?x4xf32, ["s0", "4"]> {
  %0 = aten.view(%x, size = [%s, 4]) : (tensor<?xf32, ["4*s0"]>, i64) -> tensor<?x4xf32, ["s0", "4"]>
  func.return %0 : tensor<?x4xf32, ["s0", "4"]>
}

// -----

// CHECK-LABEL: func.func @negative_unused_size
// CHECK-NEXT: func.return
func.func @negative_unused_size(
    %s: i64 {torchair.kind = "size", torchair.symbol = "s0"},
    %x: tensor<?xf32, ["s0"]> {torchair.kind = "input"}) {
  func.return
}
