// RUN: torchair-opt %s -p convert-aten-to-ge --split-input-file --verify-diagnostics | filecheck %s
// RUN: torchair-opt %s -p convert-aten-to-ge --split-input-file --verify-diagnostics --print-debuginfo | filecheck %s --check-prefix=LOC

// Arguments become Data nodes that know their place, a scalar is a 0-d tensor on the host, and
// arguments nobody uses are dropped.
// CHECK-LABEL: func.func public @arguments
// CHECK-SAME: (%x: tensor<4xf32> {torchair.name = "x", torchair.index = 0 : i64}, %s: tensor<i64> {torchair.index = 2 : i64, torchair.placement = "CPU"})
// CHECK-SAME: -> (tensor<4xf32>, tensor<i64>)
// CHECK-NEXT: %0 = ge.Add(%x, %x)
// CHECK-NEXT: ge.NetOutput([%0, %s])
// LOC: ge.Add(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("add-aten.add.Tensor"("model.py":3:0))
func.func @arguments(%x: tensor<4xf32> {torchair.name = "x"}, %unused: tensor<2xf32>, %s: i64) -> (tensor<4xf32>, i64) {
  %0 = aten.add.Tensor(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("add-aten.add.Tensor"("model.py":3:0))
  func.return %0, %s : tensor<4xf32>, i64
}

// -----

// Everything unsupported is reported at once, with source lines and stubs.
// CHECK: no converter to GE for 2 operators (3 calls):
// CHECK: aten.special_airy_ai   (2 calls)
// CHECK: source: model.py:3, model.py:4
// CHECK: aten.special_bessel_j0   (1 call)
// CHECK: register_fx_node_ge_converter(torch.ops.aten.special_airy_ai.default)
// CHECK: Try: register a converter
func.func @unsupported(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.special_airy_ai(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("a-aten.special_airy_ai"("model.py":3:0))
  %1 = aten.special_airy_ai(%0) : (tensor<4xf32>) -> tensor<4xf32> loc("b-aten.special_airy_ai"("model.py":4:0))
  %2 = aten.special_bessel_j0(%1) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}
