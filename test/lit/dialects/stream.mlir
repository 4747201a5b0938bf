// RUN: torchair-opt %s | torchair-opt | filecheck %s

// CHECK-LABEL: func.func @events_and_placement
// CHECK-NEXT: %e = stream.record : !stream.token
// CHECK-NEXT: stream.wait %e {stream.label = "side"} : !stream.token
// CHECK-NEXT: aten.exp(%x) {stream.label = "side", stream.priority = 1 : i64, stream.dump}
// CHECK-NEXT: %d = stream.record {stream.label = "side"} : !stream.token
// CHECK-NEXT: stream.wait %d, %e : !stream.token, !stream.token
func.func @events_and_placement(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = stream.record : !stream.token
  stream.wait %e {stream.label = "side"} : !stream.token
  %0 = aten.exp(%x) {stream.label = "side", stream.priority = 1, stream.dump}
       : (tensor<4xf32>) -> tensor<4xf32>
  %d = stream.record {stream.label = "side"} : !stream.token
  stream.wait %d, %e : !stream.token, !stream.token
  func.return %0 : tensor<4xf32>
}
