// RUN: torchair-opt %s -p 'schedule-streams{streams=auto sync=events},verify-schedule' --split-input-file | filecheck %s
// RUN: torchair-opt %s -p schedule-streams{sync=events},verify-schedule --split-input-file | filecheck %s --check-prefix USER

// CHECK-LABEL: func.func @two_chains
// CHECK-NEXT: %t = aten.t(%w)
// CHECK-NEXT: %0 = stream.record : !stream.token
// CHECK-NEXT: aten.mm(%a, %t) :
// CHECK-NEXT: stream.wait %0 {stream.label = "auto1", stream.index = 1 : i64}
// CHECK-NEXT: aten.mm(%b, %w) {stream.label = "auto1", stream.index = 1 : i64
// CHECK-NEXT: aten.mm(%1, %t) :
// CHECK-NEXT: aten.mm(%2, %w) {stream.label = "auto1", stream.index = 1 : i64
// CHECK-NEXT: %5 = stream.record {stream.label = "auto1", stream.index = 1 : i64}
// CHECK-NEXT: stream.wait %5 : !stream.token
// CHECK-NEXT: aten.add.Tensor(%3, %4) :
// USER-LABEL: func.func @two_chains
// USER-NOT: stream
// USER: func.return
func.func @two_chains(%a: tensor<1024x1024xf16>, %b: tensor<1024x1024xf16>, %w: tensor<1024x1024xf16>) -> tensor<1024x1024xf16> {
  %t = aten.t(%w) : (tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %0 = aten.mm(%a, %t) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %1 = aten.mm(%0, %t) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %2 = aten.mm(%b, %w) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %3 = aten.mm(%2, %w) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %4 = aten.add.Tensor(%1, %3) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  func.return %4 : tensor<1024x1024xf16>
}

// -----

// CHECK-LABEL: func.func @negative_too_small_to_split
// CHECK-NEXT: aten.exp(%a) :
// CHECK-NEXT: aten.exp(%b) :
// CHECK-NEXT: aten.add.Tensor(%0, %1) :
func.func @negative_too_small_to_split(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.exp(%b) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.add.Tensor(%0, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}

// -----

// The label of the user stays, what it needs is ordered, the second event covers the first use too.
// USER-LABEL: func.func @labels_of_the_user
// USER-NEXT: aten.exp(%a) :
// USER-NEXT: aten.neg(%0) :
// USER-NEXT: %2 = stream.record : !stream.token
// USER-NEXT: stream.wait %2 {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: aten.add.Tensor(%0, %1) {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: %4 = stream.record {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: stream.wait %4 : !stream.token
// USER-NEXT: func.return
func.func @labels_of_the_user(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.neg(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.add.Tensor(%0, %1) {stream.label = "side"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %2 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @collectives_have_their_own_stream
// CHECK: _c10d_functional.all_reduce{{.*}}stream.label = "communication", stream.index = 1
// CHECK: _c10d_functional.all_reduce{{.*}}stream.label = "communication", stream.index = 1
func.func @collectives_have_their_own_stream(%a: tensor<1024x1024xf16>, %b: tensor<1024x1024xf16>) -> (tensor<1024x1024xf16>, tensor<1024x1024xf16>) {
  %0 = aten.mm(%a, %b) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %1 = _c10d_functional.all_reduce(%0, reduce_op = "sum", group_name = "0") : (tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %2 = aten.mm(%b, %b) : (tensor<1024x1024xf16>, tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  %3 = _c10d_functional.all_reduce(%2, reduce_op = "sum", group_name = "0") : (tensor<1024x1024xf16>) -> tensor<1024x1024xf16>
  func.return %1, %3 : tensor<1024x1024xf16>, tensor<1024x1024xf16>
}

// -----

// A write to an input waits for its readers on other streams.
// USER-LABEL: func.func @write_after_read
// USER: aten.exp(%x) {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: %2 = stream.record {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: stream.wait %2 : !stream.token
// USER-NEXT: aten.copy_(%x, %y) :
func.func @write_after_read(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) {stream.label = "side"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = aten.copy_(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// Sizes are the host's business: no stream waits for one.
// USER-LABEL: func.func @sizes_need_no_events
// USER: aten.exp(%x) :
// USER-NEXT: aten.sym_size.int(%x, dim = 0) :
// USER-NEXT: stream.wait %0 {stream.label = "side", stream.index = 1 : i64}
// USER-NEXT: aten.expand(%y, size = [%s]) {stream.label = "side", stream.index = 1 : i64}
// CHECK-LABEL: func.func @sizes_need_no_events
func.func @sizes_need_no_events(%x: tensor<?xf32>, %y: tensor<1xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  %0 = aten.exp(%x) : (tensor<?xf32>) -> tensor<?xf32>
  %s = aten.sym_size.int(%x, dim = 0) : (tensor<?xf32>) -> i64
  %1 = aten.expand(%y, size = [%s]) {stream.label = "side"} : (tensor<1xf32>, i64) -> tensor<?xf32>
  func.return %0, %1 : tensor<?xf32>, tensor<?xf32>
}
