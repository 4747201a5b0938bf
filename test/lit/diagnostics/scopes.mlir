// RUN: torchair-opt %s -p resolve-scopes --split-input-file --verify-diagnostics | filecheck %s

// CHECK: a wait without record: event 'u' is not recorded before this line
// CHECK: source: model.py:3
// CHECK: Try: record it earlier in the same graph; recorded so far: t
func.func @unknown_tag(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.tagged_event_record(tag = "t") : () -> ()
  air.tagged_event_wait(tag = "u") : () -> () loc("model.py":3:0)
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: this scope is entered and never left
func.func @never_left(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_user_stream_label"], values = ["a"]) : () -> ()
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: a scope is left that was never entered
func.func @never_entered(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_exit() : () -> ()
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: scope value of '_op_aicore_num' is out of range
// CHECK: expected: a whole number from 1 to 1024
// CHECK: found: '0'
// CHECK: operator: air.scope_enter
func.func @out_of_range(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_op_aicore_num", "_op_vectorcore_num"], values = ["0", "1"]) : () -> ()
  air.scope_exit() : () -> ()
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: unknown scope key '_user_stream_lable'
func.func @unknown_key(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_user_stream_lable"], values = ["a"]) : () -> ()
  air.scope_exit() : () -> ()
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: no stream is called 'b'
// CHECK: Try: streams here: a
func.func @unknown_stream(%x: tensor<4xf32>) -> tensor<4xf32> {
  air.scope_enter(keys = ["_user_stream_label"], values = ["a"]) : () -> ()
  air.scope_exit() : () -> ()
  air.record_tagged_stream(%x, tagged_stream = "b") : (tensor<4xf32>) -> ()
  func.return %x : tensor<4xf32>
}

// -----

// CHECK: an event is used as a tensor
func.func @event_is_returned() -> tensor<0xf32> {
  %0 = air.record() : () -> tensor<0xf32>
  func.return %0 : tensor<0xf32>
}
