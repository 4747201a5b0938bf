// RUN: torchair-opt %s -p cse,dce --print-between-passes | filecheck %s --check-prefix=BETWEEN
// RUN: torchair-opt %s -p cse --time-passes | filecheck %s --check-prefix=TIME
// RUN: torchair-opt %s --print-debuginfo | filecheck %s --check-prefix=LOC
// RUN: torchair-opt %s --print-debuginfo | torchair-opt --print-debuginfo | filecheck %s --check-prefix=LOC
// RUN: torchair-opt %s -p cse --print-debuginfo --print-op-generic | filecheck %s --check-prefix=GENERIC
// RUN: torchair-opt %s --print-op-generic --print-no-properties | filecheck %s --check-prefix=ATTRS
// RUN: torchair-opt --version | filecheck %s --check-prefix=VERSION
// RUN: xdsl-opt %s -p sym-inputs-to-sizes,promote-dtypes | filecheck %s --check-prefix=PLAIN

// BETWEEN: IR after cse:
// BETWEEN: aten.neg
// BETWEEN: builtin.module
// BETWEEN-NOT: aten.neg
// TIME: Pass cse took
// LOC: aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("relu-aten.relu"("model.py":3:0)){{$}}
// GENERIC: "aten.relu"(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("relu-aten.relu"("model.py":3:0)){{$}}
// ATTRS: "aten.sum"(%{{.*}}) {dtype = f64}
// VERSION: torchair-opt on xDSL
// PLAIN: prims.convert_element_type(%0, dtype = f64)
// PLAIN-NEXT: aten.sum
func.func @f(%x: tensor<4xf32>) -> tensor<f64> {
  %0 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("relu-aten.relu"("model.py":3:0))
  %1 = aten.relu(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.neg(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = aten.sum(%0, dtype = f64) : (tensor<4xf32>) -> tensor<f64>
  func.return %3 : tensor<f64>
}
