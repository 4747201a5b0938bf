// RUN: torchair-opt %s -p fuse-infer-attention,dce --split-input-file | filecheck %s

// CHECK-LABEL: @plain
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, num_heads = 8, scale = 0.25, input_layout = "BNSD", num_key_value_heads = 8)
// CHECK-NEXT: func.return
func.func @plain(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x8x9x16xbf16>, %v: tensor<2x8x9x16xbf16>) -> tensor<2x8x6x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x6x16xbf16>, tensor<2x8x9x16xbf16>, tensor<2x8x9x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// CHECK-LABEL: @repeated_heads_and_boolean_mask
// CHECK-NEXT: %[[M:.*]] = aten.logical_not(%shown)
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, atten_mask = %[[M]], num_heads = 8, scale = 0.25, input_layout = "BNSD", num_key_value_heads = 2, inner_precise = 2)
// CHECK-NEXT: func.return
func.func @repeated_heads_and_boolean_mask(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>, %shown: tensor<2x1x6x9xi1>) -> tensor<2x8x6x16xbf16> {
  %k1 = aten.unsqueeze(%k, dim = 2) : (tensor<2x2x9x16xbf16>) -> tensor<2x2x1x9x16xbf16>
  %k2 = aten.expand(%k1, size = [2, 2, 4, 9, 16]) : (tensor<2x2x1x9x16xbf16>) -> tensor<2x2x4x9x16xbf16>
  %k3 = aten.clone(%k2, memory_format = "contiguous_format") : (tensor<2x2x4x9x16xbf16>) -> tensor<2x2x4x9x16xbf16>
  %kk = aten.view(%k3, size = [2, 8, 9, 16]) : (tensor<2x2x4x9x16xbf16>) -> tensor<2x8x9x16xbf16>
  %v1 = aten.unsqueeze(%v, dim = 2) : (tensor<2x2x9x16xbf16>) -> tensor<2x2x1x9x16xbf16>
  %v2 = aten.expand(%v1, size = [2, 2, 4, 9, 16]) : (tensor<2x2x1x9x16xbf16>) -> tensor<2x2x4x9x16xbf16>
  %v3 = aten.clone(%v2, memory_format = "contiguous_format") : (tensor<2x2x4x9x16xbf16>) -> tensor<2x2x4x9x16xbf16>
  %vv = aten.view(%v3, size = [2, 8, 9, 16]) : (tensor<2x2x4x9x16xbf16>) -> tensor<2x8x9x16xbf16>
  %zero = aten.scalar_tensor(s = 0.0, dtype = bf16) : () -> tensor<bf16>
  %least = aten.scalar_tensor(s = -inf, dtype = bf16) : () -> tensor<bf16>
  %n = aten.where.self(%shown, %zero, %least) : (tensor<2x1x6x9xi1>, tensor<bf16>, tensor<bf16>) -> tensor<2x1x6x9xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %kk, %vv, attn_mask = %n) : (tensor<2x8x6x16xbf16>, tensor<2x8x9x16xbf16>, tensor<2x8x9x16xbf16>, tensor<2x1x6x9xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// CHECK-LABEL: @what_is_hidden
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, atten_mask = %hidden,
// CHECK-NEXT: func.return
func.func @what_is_hidden(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>, %hidden: tensor<2x1x6x9xi1>) -> tensor<2x8x6x16xbf16> {
  %shown = aten.bitwise_not(%hidden) : (tensor<2x1x6x9xi1>) -> tensor<2x1x6x9xi1>
  %zero = aten.scalar_tensor(s = 0.0, dtype = bf16) : () -> tensor<bf16>
  %least = aten.scalar_tensor(s = -inf, dtype = bf16) : () -> tensor<bf16>
  %n = aten.where.self(%shown, %zero, %least) : (tensor<2x1x6x9xi1>, tensor<bf16>, tensor<bf16>) -> tensor<2x1x6x9xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %n) : (tensor<2x8x6x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x1x6x9xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// The branch for one token wants a mask for each sequence, and has no rows to make zero.
// CHECK-LABEL: @one_token
// CHECK: %[[M:.*]] = aten.expand(%{{.*}}, size = [2, -1, -1, -1])
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, atten_mask = %[[M]], num_heads = 8, scale = 0.25, input_layout = "BNSD", num_key_value_heads = 2)
func.func @one_token(%q: tensor<2x8x1x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>, %shown: tensor<1x9xi1>) -> tensor<2x8x1x16xbf16> {
  %zero = aten.scalar_tensor(s = 0.0, dtype = bf16) : () -> tensor<bf16>
  %least = aten.scalar_tensor(s = -inf, dtype = bf16) : () -> tensor<bf16>
  %n = aten.where.self(%shown, %zero, %least) : (tensor<1x9xi1>, tensor<bf16>, tensor<bf16>) -> tensor<1x9xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %n) : (tensor<2x8x1x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>, tensor<1x9xbf16>) -> (tensor<2x8x1x16xbf16>, tensor<2x8x1xf32>)
  func.return %y : tensor<2x8x1x16xbf16>
}

// -----

// CHECK-LABEL: @added_numbers
// CHECK: %[[ROWS:.*]] = aten.sym_size.int(%q, dim = 2)
// CHECK: %[[M:.*]] = aten.expand(%mask, size = [-1, 8, %[[ROWS]], -1])
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, pse_shift = %[[M]],
func.func @added_numbers(%q: tensor<?x8x?x16xbf16, ["s0", "8", "s1", "16"]>, %k: tensor<?x2x?x16xbf16, ["s0", "2", "s2", "16"]>, %v: tensor<?x2x?x16xbf16, ["s0", "2", "s2", "16"]>, %mask: tensor<?x1x1x?xbf16, ["s0", "1", "1", "s2"]>) -> tensor<?x8x?x16xbf16, ["s0", "8", "s1", "16"]> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %mask) : (tensor<?x8x?x16xbf16, ["s0", "8", "s1", "16"]>, tensor<?x2x?x16xbf16, ["s0", "2", "s2", "16"]>, tensor<?x2x?x16xbf16, ["s0", "2", "s2", "16"]>, tensor<?x1x1x?xbf16, ["s0", "1", "1", "s2"]>) -> (tensor<?x8x?x16xbf16, ["s0", "8", "s1", "16"]>, tensor<?x8x?xf32, ["s0", "8", "s1"]>)
  func.return %y : tensor<?x8x?x16xbf16, ["s0", "8", "s1", "16"]>
}

// -----

// CHECK-LABEL: @causal
// CHECK: %[[M:.*]] = aten.triu(%{{.*}}, diagonal = 1)
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, atten_mask = %[[M]],
// CHECK-SAME: sparse_mode = 2
func.func @causal(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x8x6x16xbf16>, %v: tensor<2x8x6x16xbf16>) -> tensor<2x8x6x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, is_causal = true) : (tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// CHECK-LABEL: @swapped_tokens_and_heads
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %k, %v, num_heads = 8, scale = 0.25, input_layout = "BSND", num_key_value_heads = 8)
// CHECK-NEXT: func.return
func.func @swapped_tokens_and_heads(%q: tensor<2x6x8x16xbf16>, %k: tensor<2x6x8x16xbf16>, %v: tensor<2x6x8x16xbf16>) -> tensor<2x6x8x16xbf16> {
  %a = aten.transpose.int(%q, dim0 = 1, dim1 = 2) : (tensor<2x6x8x16xbf16>) -> tensor<2x8x6x16xbf16>
  %b = aten.transpose.int(%k, dim0 = 1, dim1 = 2) : (tensor<2x6x8x16xbf16>) -> tensor<2x8x6x16xbf16>
  %c = aten.transpose.int(%v, dim0 = 1, dim1 = 2) : (tensor<2x6x8x16xbf16>) -> tensor<2x8x6x16xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%a, %b, %c) : (tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  %z = aten.transpose.int(%y, dim0 = 1, dim1 = 2) : (tensor<2x8x6x16xbf16>) -> tensor<2x6x8x16xbf16>
  func.return %z : tensor<2x6x8x16xbf16>
}

// -----

// CHECK-LABEL: @swapped_result
// CHECK-NEXT: %[[Y:.*]], %{{.*}} = npu.npu_fused_infer_attention_score(%q, %k, %v, num_heads = 8, scale = 0.25, input_layout = "BNSD_BSND", num_key_value_heads = 2)
// CHECK-NEXT: func.return %[[Y]]
func.func @swapped_result(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>) -> tensor<2x6x8x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x6x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  %z = aten.transpose.int(%y, dim0 = 1, dim1 = 2) : (tensor<2x8x6x16xbf16>) -> tensor<2x6x8x16xbf16>
  func.return %z : tensor<2x6x8x16xbf16>
}

// -----

// The branch for one token has no such layout.
// CHECK-LABEL: @swapped_result_of_one_token
// CHECK-NEXT: npu.npu_fused_infer_attention_score
// CHECK-SAME: "BNSD"
// CHECK-NEXT: aten.transpose.int
func.func @swapped_result_of_one_token(%q: tensor<2x8x1x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>) -> tensor<2x1x8x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x1x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>) -> (tensor<2x8x1x16xbf16>, tensor<2x8x1xf32>)
  %z = aten.transpose.int(%y, dim0 = 1, dim1 = 2) : (tensor<2x8x1x16xbf16>) -> tensor<2x1x8x16xbf16>
  func.return %z : tensor<2x1x8x16xbf16>
}

// -----

// The backward pass reads the statistics.
// CHECK-LABEL: @negative_gradient
// CHECK-NOT: npu.
func.func @negative_gradient(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x8x6x16xbf16>, %v: tensor<2x8x6x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>) {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>, tensor<2x8x6x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y, %lse : tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>
}

// -----

// CHECK-LABEL: @negative_float32
// CHECK-NOT: npu.
func.func @negative_float32(%q: tensor<2x8x6x16xf32>, %k: tensor<2x8x6x16xf32>, %v: tensor<2x8x6x16xf32>) -> tensor<2x8x6x16xf32> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x6x16xf32>, tensor<2x8x6x16xf32>, tensor<2x8x6x16xf32>) -> (tensor<2x8x6x16xf32>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xf32>
}

// -----

// Head sizes are multiples of 16.
// CHECK-LABEL: @negative_odd_head_size
// CHECK-NOT: npu.
func.func @negative_odd_head_size(%q: tensor<2x8x6x20xbf16>, %k: tensor<2x8x6x20xbf16>, %v: tensor<2x8x6x20xbf16>) -> tensor<2x8x6x20xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x8x6x20xbf16>, tensor<2x8x6x20xbf16>, tensor<2x8x6x20xbf16>) -> (tensor<2x8x6x20xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x20xbf16>
}

// -----

// At most 64 heads share keys.
// CHECK-LABEL: @negative_large_group
// CHECK-NOT: npu.
func.func @negative_large_group(%q: tensor<2x128x6x16xbf16>, %k: tensor<2x1x6x16xbf16>, %v: tensor<2x1x6x16xbf16>) -> tensor<2x128x6x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v) : (tensor<2x128x6x16xbf16>, tensor<2x1x6x16xbf16>, tensor<2x1x6x16xbf16>) -> (tensor<2x128x6x16xbf16>, tensor<2x128x6xf32>)
  func.return %y : tensor<2x128x6x16xbf16>
}

// -----

// A boolean mask is for all heads.
// CHECK-LABEL: @negative_mask_of_heads
// CHECK-NOT: npu.
func.func @negative_mask_of_heads(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>, %v: tensor<2x2x9x16xbf16>, %shown: tensor<2x8x6x9xi1>) -> tensor<2x8x6x16xbf16> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, attn_mask = %shown) : (tensor<2x8x6x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x8x6x9xi1>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// One query token would see every key.
// CHECK-LABEL: @negative_causal_of_unequal_lengths
// CHECK-NOT: npu.
func.func @negative_causal_of_unequal_lengths(%q: tensor<2x8x?x16xbf16, ["2", "8", "s1", "16"]>, %k: tensor<2x8x?x16xbf16, ["2", "8", "s2", "16"]>, %v: tensor<2x8x?x16xbf16, ["2", "8", "s2", "16"]>) -> tensor<2x8x?x16xbf16, ["2", "8", "s1", "16"]> {
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %v, is_causal = true) : (tensor<2x8x?x16xbf16, ["2", "8", "s1", "16"]>, tensor<2x8x?x16xbf16, ["2", "8", "s2", "16"]>, tensor<2x8x?x16xbf16, ["2", "8", "s2", "16"]>) -> (tensor<2x8x?x16xbf16, ["2", "8", "s1", "16"]>, tensor<2x8x?xf32, ["2", "8", "s1"]>)
  func.return %y : tensor<2x8x?x16xbf16, ["2", "8", "s1", "16"]>
}

// -----

// What another stream repeats stays there.
// CHECK-LABEL: @negative_two_streams
// CHECK: %kk = aten.view
// CHECK-NEXT: npu.npu_fused_infer_attention_score(%q, %kk, %kk, num_heads = 8, scale = 0.25, input_layout = "BNSD", num_key_value_heads = 8)
func.func @negative_two_streams(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>) -> tensor<2x8x6x16xbf16> {
  %k1 = aten.unsqueeze(%k, dim = 2) {stream.label = "side"} : (tensor<2x2x9x16xbf16>) -> tensor<2x2x1x9x16xbf16>
  %k2 = aten.expand(%k1, size = [2, 2, 4, 9, 16]) {stream.label = "side"} : (tensor<2x2x1x9x16xbf16>) -> tensor<2x2x4x9x16xbf16>
  %kk = aten.view(%k2, size = [2, 8, 9, 16]) {stream.label = "side"} : (tensor<2x2x4x9x16xbf16>) -> tensor<2x8x9x16xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %kk, %kk) : (tensor<2x8x6x16xbf16>, tensor<2x8x9x16xbf16>, tensor<2x8x9x16xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// CHECK-LABEL: @zeros_and_infinities
// CHECK: npu.npu_fused_infer_attention_score(%q, %k, %k, atten_mask = %hidden,
func.func @zeros_and_infinities(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>, %hidden: tensor<6x9xi1>) -> tensor<2x8x6x16xbf16> {
  %0 = aten.zeros(size = [6, 9], dtype = bf16) : () -> tensor<6x9xbf16>
  %1 = aten.masked_fill.Scalar(%0, %hidden, value = -inf) : (tensor<6x9xbf16>, tensor<6x9xi1>) -> tensor<6x9xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %k, attn_mask = %1) : (tensor<2x8x6x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>, tensor<6x9xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}

// -----

// CHECK-LABEL: @triangle_of_infinities
// CHECK: npu.npu_fused_infer_attention_score
// CHECK-SAME: sparse_mode = 2
func.func @triangle_of_infinities(%q: tensor<2x8x6x16xbf16>, %k: tensor<2x2x9x16xbf16>) -> tensor<2x8x6x16xbf16> {
  %0 = aten.full(size = [6, 9], fill_value = -inf, dtype = bf16) : () -> tensor<6x9xbf16>
  %1 = aten.triu(%0, diagonal = 1) : (tensor<6x9xbf16>) -> tensor<6x9xbf16>
  %y, %lse = aten._scaled_dot_product_flash_attention_for_cpu(%q, %k, %k, attn_mask = %1) : (tensor<2x8x6x16xbf16>, tensor<2x2x9x16xbf16>, tensor<2x2x9x16xbf16>, tensor<6x9xbf16>) -> (tensor<2x8x6x16xbf16>, tensor<2x8x6xf32>)
  func.return %y : tensor<2x8x6x16xbf16>
}
