// RUN: torchair-opt %s -p verify-schedule{events=2} --split-input-file --verify-diagnostics | filecheck %s

// CHECK-LABEL: func.func @negative_a_safe_schedule
// CHECK: func.return
func.func @negative_a_safe_schedule(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = stream.record : !stream.token
  stream.wait %e {stream.label = "side"} : !stream.token
  %0 = aten.exp(%x) {stream.label = "side"} : (tensor<4xf32>) -> tensor<4xf32>
  %d = stream.record {stream.label = "side"} : !stream.token
  stream.wait %d : !stream.token
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK: aten.neg (from neg-aten.neg) at model.py:9 on stream 'side' is not ordered after aten.exp (from exp-aten.exp) at model.py:7 on the main stream: it uses a result of the other; missing edge: a record after aten.exp (from exp-aten.exp) at model.py:7 -> a wait before aten.neg (from neg-aten.neg) at model.py:9
// CHECK: operator: aten.neg (from neg-aten.neg)
// CHECK: source: model.py:9
func.func @use_before_the_producer_is_over(%x: tensor<4xf32>) -> tensor<4xf32> {
  %e = stream.record : !stream.token
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32> loc("exp-aten.exp"("model.py":7:0))
  stream.wait %e {stream.label = "side"} : !stream.token
  %1 = aten.neg(%0) {stream.label = "side"} : (tensor<4xf32>) -> tensor<4xf32> loc("neg-aten.neg"("model.py":9:0))
  %d = stream.record {stream.label = "side"} : !stream.token
  stream.wait %d : !stream.token
  func.return %1 : tensor<4xf32>
}

// -----

// CHECK: aten.copy_ on the main stream is not ordered after aten.exp on stream 'side': it overwrites what the other reads
func.func @write_races_with_a_reader_through_a_view(%x: tensor<4xf32>, %y: tensor<4xf32>) {
  %e = stream.record : !stream.token
  stream.wait %e {stream.label = "side"} : !stream.token
  %v = aten.view(%x, size = [2, 2]) : (tensor<4xf32>) -> tensor<2x2xf32>
  %f = stream.record : !stream.token
  stream.wait %f {stream.label = "side"} : !stream.token
  %0 = aten.exp(%v) {stream.label = "side"} : (tensor<2x2xf32>) -> tensor<2x2xf32>
  %1 = aten.copy_(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  func.return
}

// -----

// CHECK: aten.exp on the main stream is not ordered after aten.neg on stream 'side': it reuses buffer 'b0', whose last reader is the other
func.func @buffer_reused_before_its_last_reader(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) {stream.buffers = ["b0"]} : (tensor<4xf32>) -> tensor<4xf32>
  %e = stream.record : !stream.token
  stream.wait %e {stream.label = "side"} : !stream.token
  %1 = aten.neg(%0) {stream.label = "side", stream.buffers = ["b1"]} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = aten.exp(%x) {stream.buffers = ["b0"]} : (tensor<4xf32>) -> tensor<4xf32>
  %d = stream.record {stream.label = "side"} : !stream.token
  stream.wait %d : !stream.token
  func.return %2 : tensor<4xf32>
}

// -----

// CHECK: _c10d_functional.all_reduce on the main stream is not ordered after _c10d_functional.all_reduce on stream 'comm': collectives of group 'tp' run in one order
func.func @collectives_without_order(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %e = stream.record : !stream.token
  stream.wait %e {stream.label = "comm"} : !stream.token
  %0 = _c10d_functional.all_reduce(%x, reduce_op = "sum", group_name = "tp") {stream.label = "comm"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = _c10d_functional.all_reduce(%x, reduce_op = "sum", group_name = "tp") : (tensor<4xf32>) -> tensor<4xf32>
  %d = stream.record {stream.label = "comm"} : !stream.token
  stream.wait %d : !stream.token
  func.return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK: aten.exp is the first on stream 'side', which has not forked from the main stream
// CHECK: stream 'side' is not joined: aten.exp, the last on it, is not ordered before func.return
func.func @neither_forked_nor_joined(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) {stream.label = "side"} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: the graph needs 3 events, the device allows 2 (operations by stream: the main stream: 5)
func.func @more_events_than_the_device_has(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = stream.record : !stream.token
  %b = stream.record : !stream.token
  %c = stream.record : !stream.token
  stream.wait %a, %b, %c : !stream.token, !stream.token, !stream.token
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: aten.exp asks for stream.aicore = 99, the device has 24
func.func @more_cores_than_the_device_has(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) {stream.aicore = 99} : (tensor<4xf32>) -> tensor<4xf32>
  func.return %0 : tensor<4xf32>
}

// -----

// GE orders uses by itself, but not collectives that do not use each other.
// CHECK: ge.HcomAllReduce on the main stream is not ordered after ge.HcomAllReduce on stream 'side': collectives of group 'tp' run in one order
func.func @collectives_of_a_ge_graph(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = ge.Relu(%x) {_user_stream_label = "side"} : (tensor<4xf32>) -> tensor<4xf32>
  %1 = ge.HcomAllReduce(%0, reduction = "sum", group = "tp") {_user_stream_label = "side"} : (tensor<4xf32>) -> tensor<4xf32>
  %2 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") : (tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([%1, %2]) : (tensor<4xf32>, tensor<4xf32>) -> ()
}

// -----

// CHECK-LABEL: func.func @negative_collectives_in_order
func.func @negative_collectives_in_order(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %1, %c = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") {_user_stream_label = "side"} : (tensor<4xf32>) -> (tensor<4xf32>, !ge.control)
  %2 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") after [%c] : (tensor<4xf32>, !ge.control) -> tensor<4xf32>
  ge.NetOutput([%1, %2]) : (tensor<4xf32>, tensor<4xf32>) -> ()
}

// -----

// Two groups may communicate at the same time, if the device has cores for both.
// CHECK: ge.HcomAllReduce and ge.HcomAllGather may wait for their ranks at the same time with 60 vector cores, the device has 48
func.func @collectives_that_do_not_fit_together(%x: tensor<4xf32>) -> (tensor<8xf32>, tensor<4xf32>) {
  %1 = ge.HcomAllGather(%x, rank_size = 2, group = "ep") {_user_stream_label = "side", _op_vectorcore_num = "30"} : (tensor<4xf32>) -> tensor<8xf32>
  %2 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") {_op_vectorcore_num = "30"} : (tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([%1, %2]) : (tensor<8xf32>, tensor<4xf32>) -> ()
}

// -----

// CHECK-LABEL: func.func @negative_collectives_that_fit_together
func.func @negative_collectives_that_fit_together(%x: tensor<4xf32>) -> (tensor<8xf32>, tensor<4xf32>) {
  %1 = ge.HcomAllGather(%x, rank_size = 2, group = "ep") {_user_stream_label = "side", _op_vectorcore_num = "24"} : (tensor<4xf32>) -> tensor<8xf32>
  %2 = ge.HcomAllReduce(%x, reduction = "sum", group = "tp") {_op_vectorcore_num = "24"} : (tensor<4xf32>) -> tensor<4xf32>
  ge.NetOutput([%1, %2]) : (tensor<8xf32>, tensor<4xf32>) -> ()
}

// -----

// CHECK: 'stream.wait' is malformed: a wait without record
func.func @a_wait_without_record(%t: !stream.token) {
  stream.wait %t : !stream.token
  func.return
}
