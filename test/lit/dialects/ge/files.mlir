// GE graphs are written as protobuf text, and read back from it.
// RUN: torchair-opt %s -t ge-pbtxt | filecheck %s --check-prefix=TEXT
// RUN: torchair-opt %s -t ge-pbtxt -o %t.pbtxt
// RUN: torchair-opt %t.pbtxt --print-debuginfo | filecheck %s
// RUN: not torchair-opt %t.pbtxt --split-input-file 2>&1 | filecheck %s --check-prefix=SPLIT
// RUN: not torchair-opt %s -f pbtxt 2>&1 | filecheck %s --check-prefix=WRONG

// TEXT: type: "Relu"
// TEXT: type: "NetOutput"
// SPLIT: a GE graph is read from a whole file
// WRONG: torchair-opt:
// WRONG-NOT: Traceback

// CHECK: %0 = ge.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("relu-aten.relu"("model.py":3:0))
// CHECK-NEXT: ge.NetOutput([%0])
func.func @graph(%x: tensor<4xf32> {torchair.name = "x", torchair.index = 0 : i64}) -> tensor<4xf32> {
  %0 = ge.Relu(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("relu-aten.relu"("model.py":3:0))
  ge.NetOutput([%0]) : (tensor<4xf32>) -> ()
}
