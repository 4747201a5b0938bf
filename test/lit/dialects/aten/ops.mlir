// RUN: torchair-opt %s --split-input-file | filecheck %s
// RUN: torchair-opt %s --split-input-file --print-op-generic | torchair-opt --split-input-file | filecheck %s
// RUN: torchair-opt %s --split-input-file --print-op-generic | filecheck %s --check-prefix=GENERIC

// Leading tensors are positional, the rest is named, defaults are left out.
// CHECK-LABEL: func.func @arguments
// CHECK-NEXT: aten.add.Tensor(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// CHECK-NEXT: aten.add.Tensor(%x, 2, alpha = 0.5)
// CHECK-NEXT: aten.pow.Scalar(self = 10000, exponent = %x)
// CHECK-NEXT: aten.sum.dim_IntList(%x, dim = [-1], keepdim = true, dtype = f64)
// GENERIC-LABEL: sym_name = "arguments"
// GENERIC: "aten.add.Tensor"(%x, %x) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
// GENERIC-NEXT: "aten.add.Tensor"(%x) <{other = 2 : i64, alpha = 5.000000e-01 : f64
// GENERIC-NEXT: "aten.pow.Scalar"(%x) <{self = 10000 : i64}>
// GENERIC-NEXT: "aten.sum.dim_IntList"(%x) <{dim = array<i64: -1>, keepdim = true, dtype = f64
func.func @arguments(%x: tensor<4xf32>) {
  %0 = aten.add.Tensor(%x, %x, alpha = 1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.add.Tensor(%x, 2, alpha = 0.5) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.pow.Scalar(self = 10000, exponent = %x) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.sum.dim_IntList(%x, dim = [-1], keepdim = true, dtype = f64) : (tensor<4xf32>) -> tensor<1xf64>
  func.return
}

// -----

// Lists may mix numbers and symbolic sizes.
// CHECK-LABEL: func.func @symbolic_lists
// CHECK-NEXT: aten.view(%x, size = [%s, -1, 2]) : (tensor<?x4xf32, ["s0", "4"]>, i64) -> tensor<?x2x2xf32, ["s0", "2", "2"]>
// CHECK-NEXT: aten.arange(end = %s) : (i64) -> tensor<?xi64, ["s0"]>
// CHECK-NEXT: aten.slice.Tensor(%x, dim = 1, start = %s, end = 4)
// GENERIC-LABEL: sym_name = "symbolic_lists"
// GENERIC: "aten.view"(%x, %s) <{size = array<i64: -9223372036854775808, -1, 2>}>
func.func @symbolic_lists(%x: tensor<?x4xf32, ["s0", "4"]>, %s: i64) {
  %0 = aten.view(%x, size = [%s, -1, 2]) : (tensor<?x4xf32, ["s0", "4"]>, i64) -> tensor<?x2x2xf32, ["s0", "2", "2"]>
  %1 = aten.arange(end = %s) : (i64) -> tensor<?xi64, ["s0"]>
  %2 = aten.slice.Tensor(%x, dim = 1, start = %s, end = 4) : (tensor<?x4xf32, ["s0", "4"]>, i64) -> tensor<?x?xf32>
  func.return
}

// -----

// CHECK-LABEL: func.func @tensor_lists
// CHECK-NEXT: aten.cat([%x, %y, %x], dim = -1)
// CHECK-NEXT: aten.index.Tensor(%x, indices = [none, %i])
// CHECK-NEXT: aten.index_put(%x, indices = [%i], values = %y)
// CHECK-NEXT: aten.cat([]) : () -> tensor<0xf32>
// CHECK-NEXT: %{{.*}}, %{{.*}} = aten.split.Tensor(%x, split_size = 2, dim = 1)
func.func @tensor_lists(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>, %i: tensor<4xi64>) {
  %0 = aten.cat([%x, %y, %x], dim = -1) : (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x12xf32>
  %1 = aten.index.Tensor(%x, indices = [none, %i]) : (tensor<4x4xf32>, tensor<4xi64>) -> tensor<4x4xf32>
  %2 = aten.index_put(%x, indices = [%i], values = %y) : (tensor<4x4xf32>, tensor<4xi64>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = aten.cat([]) : () -> tensor<0xf32>
  %4, %5 = aten.split.Tensor(%x, split_size = 2, dim = 1) : (tensor<4x4xf32>) -> (tensor<4x2xf32>, tensor<4x2xf32>)
  func.return
}

// -----

// Several optional tensors: the segments are in the generic form.
// CHECK-LABEL: func.func @optional_tensors
// CHECK-NEXT: aten.clamp.Tensor(%x, max = %y)
// CHECK-NEXT: %{{.*}}, %{{.*}}, %{{.*}} = aten.native_layer_norm(%x, normalized_shape = [4], weight = %y, eps = 1.0e-05)
// GENERIC-LABEL: sym_name = "optional_tensors"
// GENERIC: operandSegmentSizes = array<i32: 1, 0, 1>
func.func @optional_tensors(%x: tensor<2x4xf32>, %y: tensor<4xf32>) {
  %0 = aten.clamp.Tensor(%x, max = %y) : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  %1, %2, %3 = aten.native_layer_norm(%x, normalized_shape = [4], weight = %y, bias = none, eps = 1.0e-05) : (tensor<2x4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x1xf32>, tensor<2x1xf32>)
  func.return
}

// -----

// Numbers and strings keep every bit.
// CHECK-LABEL: func.func @static_values
// CHECK-NEXT: fill_value = -inf
// CHECK-NEXT: fill_value = nan
// CHECK-NEXT: fill_value = -0.0
// CHECK-NEXT: fill_value = 0.1
// CHECK-NEXT: fill_value = 5.0e-324
// CHECK-NEXT: fill_value = true
// CHECK-NEXT: fill_value = -9223372036854775807
// CHECK-NEXT: aten.gelu(%x, approximate = "a \22quoted\22 word")
// CHECK-NEXT: aten.constant(value = dense<[1, 2]> : tensor<2xi64>)
func.func @static_values(%x: tensor<4xf32>) {
  %0 = aten.full(size = [4], fill_value = -inf) : () -> tensor<4xf32>
  %1 = aten.full(size = [4], fill_value = nan) : () -> tensor<4xf32>
  %2 = aten.full(size = [4], fill_value = -0.0) : () -> tensor<4xf32>
  %3 = aten.full(size = [4], fill_value = 0.1) : () -> tensor<4xf32>
  %4 = aten.full(size = [], fill_value = 5.0e-324) : () -> tensor<f64>
  %5 = aten.full(size = [4], fill_value = true) : () -> tensor<4xi1>
  %6 = aten.full(size = [4], fill_value = -9223372036854775807) : () -> tensor<4xi64>
  %7 = aten.gelu(%x, approximate = "a \"quoted\" word") : (tensor<4xf32>) -> tensor<4xf32>
  %8 = aten.constant(value = dense<[1, 2]> : tensor<2xi64>) : () -> tensor<2xi64>
  func.return
}

// -----

// CHECK-LABEL: func.func @other_namespaces
// CHECK-NEXT: prims.convert_element_type(%x, dtype = bf16)
// CHECK-NEXT: _c10d_functional.all_reduce(%x, reduce_op = "sum", group_name = "0")
// CHECK-NEXT: sym.add(a = %s, b = 1)
// CHECK-NEXT: sym.sum(values = [%s, %s, 2])
// CHECK-NEXT: sym.ite(condition = true, a = %s, b = 0)
func.func @other_namespaces(%x: tensor<4xf32>, %s: i64) {
  %0 = prims.convert_element_type(%x, dtype = bf16) : (tensor<4xf32>) -> tensor<4xbf16>
  %1 = _c10d_functional.all_reduce(%x, reduce_op = "sum", group_name = "0") : (tensor<4xf32>) -> tensor<4xf32>
  %2 = sym.add(a = %s, b = 1) : (i64) -> i64
  %3 = sym.sum(values = [%s, %s, 2]) : (i64, i64) -> i64
  %4 = sym.ite(condition = true, a = %s, b = 0) : (i64) -> i64
  func.return
}

// -----

// CHECK-LABEL: func.func @discardable_attributes
// CHECK-NEXT: aten.relu(%x) {stream = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>
func.func @discardable_attributes(%x: tensor<4xf32>) {
  %0 = aten.relu(%x) {"stream" = 1 : i64} : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// A dump carries the schemas of custom operators.
// CHECK: builtin.module attributes {aten.schemas = [#aten.schema<"mylib::twice(Tensor x, *, float by=2.) -> Tensor">]}
// CHECK: mylib.twice(%x, by = 3.0)
builtin.module attributes {aten.schemas = [#aten.schema<"mylib::twice(Tensor x, *, float by=2.) -> Tensor">]} {
  func.func @custom(%x: tensor<4xf32>) {
    %0 = mylib.twice(%x, by = 3.0) : (tensor<4xf32>) -> tensor<4xf32>
    func.return
  }
}

// -----

// Arguments of the function may name weights.
// CHECK-LABEL: func.func @weights
// CHECK-SAME: torchair.weight = #torchair.weight<"layer.0.w">
func.func @weights(%w: tensor<4xf32> {torchair.kind = "parameter", torchair.weight = #torchair.weight<"layer.0.w">}) {
  func.return
}
