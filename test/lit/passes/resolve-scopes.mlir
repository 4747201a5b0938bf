// RUN: torchair-opt %s -p resolve-scopes --split-input-file | filecheck %s

// CHECK-LABEL: func.func @nested_scopes
// CHECK-NEXT: aten.exp(%x) {stream.label = "a", stream.priority = 3 : i64, stream.parallel = true}
// CHECK-NEXT: aten.exp(%0) {stream.label = "b", stream.priority = 3 : i64, stream.parallel = true, stream.aicore = 4 : i64, stream.vectorcore = 0 : i64}
// CHECK-NEXT: aten.exp(%1) {stream.label = "a", stream.priority = 3 : i64, stream.parallel = true}
// CHECK-NEXT: aten.exp(%2) :
func.func @nested_scopes(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_user_stream_label", "_user_stream_priority", "_enable_inner_parallel"], values = ["a", "3", "True"]) : () -> ()
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_enter(keys = ["_user_stream_label", "_op_aicore_num", "_op_vectorcore_num"], values = ["b", "4", "0"]) : () -> ()
  %1 = aten.exp(%0) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_exit() : () -> ()
  %2 = aten.exp(%1) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_exit() : () -> ()
  %3 = aten.exp(%2) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %3 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @super_kernel_and_exclusion
// CHECK-NEXT: aten.exp(%x) {stream.super_kernel = "s", stream.super_kernel_options = "a=1"}
// CHECK-NEXT: aten.exp(%0) :
func.func @super_kernel_and_exclusion(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_super_kernel_scope", "_super_kernel_options"], values = ["s", "a=1"]) : () -> ()
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_enter(keys = ["_super_kernel_scope", "_super_kernel_options"], values = ["", ""]) : () -> ()
  %1 = aten.exp(%0) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_exit() : () -> ()
  air.scope_exit() : () -> ()
  func.return %1 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @waits_for_events_and_tensors
// CHECK-NEXT: %0 = stream.record : !stream.token
// CHECK-NEXT: %y = aten.exp(%x)
// CHECK-NEXT: %1 = stream.record : !stream.token
// CHECK-NEXT: stream.wait %0, %1 {stream.label = "side"} : !stream.token, !stream.token
// CHECK-NEXT: aten.exp(%y) {stream.label = "side", stream.never_timeout = true, stream.dump}
func.func @waits_for_events_and_tensors(%x: tensor<4xf32>) -> tensor<4xf32> {
  %r = air.record() : () -> tensor<0xf32>
  %y = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_enter(keys = ["_user_stream_label", "_op_exec_never_timeout", "torchair_enable_data_dump"], values = ["side", "True", "True"]) : () -> ()
  air.wait([%r, %y]) : (tensor<0xf32>, tensor<4xf32>) -> ()
  %0 = aten.exp(%y) : (tensor<4xf32>) -> tensor<4xf32>
  air.scope_exit() : () -> ()
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @tagged_events
// CHECK-NEXT: aten.exp(%x) {stream.label = "side"}
// CHECK-NEXT: %1 = stream.record {stream.label = "side"}
// CHECK-NEXT: stream.wait %1 : !stream.token
// CHECK-NEXT: aten.exp
func.func @tagged_events(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_user_stream_label"], values = ["side"]) : () -> ()
  %0 = aten.exp(%x) : (tensor<4xf32>) -> tensor<4xf32>
  air.tagged_event_record(tag = "t") : () -> ()
  air.scope_exit() : () -> ()
  air.record_tagged_stream(%0, tagged_stream = "side") : (tensor<4xf32>) -> ()
  air.tagged_event_wait(tag = "t") : () -> ()
  %1 = aten.exp(%0) : (tensor<4xf32>) -> tensor<4xf32>
  func.return %1 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @torch_streams_and_events
// CHECK-NEXT: aten.exp(%x) {stream.label = "torch_stream_1"}
// CHECK-NEXT: %1 = stream.record {stream.label = "torch_stream_1"}
// CHECK-NEXT: stream.wait %1 : !stream.token
// CHECK-NEXT: %2 = stream.record : !stream.token
// CHECK-NEXT: stream.wait %2 {stream.label = "torch_stream_1"} : !stream.token
func.func @torch_streams_and_events(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = aten.exp(%x) {stream.label = "torch_stream_1"} : (tensor<4xf32>) -> tensor<4xf32>
  streams.record_event(event_index = 7, stream_index = 1) : () -> ()
  streams.wait_event(event_index = 7, stream_index = 0) : () -> ()
  streams.wait_stream(waiting_stream_index = 1, waited_on_stream_index = 0) : () -> ()
  func.return %0 : tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @negative_wait_for_an_input
// CHECK-NEXT: func.return
func.func @negative_wait_for_an_input(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.wait([%x]) : (tensor<4xf32>) -> ()
  func.return %x : tensor<4xf32>
}
