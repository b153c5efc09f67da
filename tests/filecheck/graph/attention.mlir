// RUN: penstock opt %s | filecheck %s

// Attention: every op reads back as it was written, parameters at their default left out.

func.func @attention_0(%x0 : tensor<2x4x3x8xf32>, %x1 : tensor<2x2x5x8xf32>, %x2 : tensor<2x2x5x6xf32>) -> tensor<2x4x3x6xf32> {
  // CHECK: graph.attention %x0, %x1, %x2 {scale = 0.25, causal = true, causal_offset = 2} : (tensor<2x4x3x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x6xf32>) -> tensor<2x4x3x6xf32>
  %r0 = graph.attention %x0, %x1, %x2 {scale = 0.25, causal = true, causal_offset = 2} : (tensor<2x4x3x8xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x6xf32>) -> tensor<2x4x3x6xf32> loc("attention")
  func.return %r0 : tensor<2x4x3x6xf32>
}
func.func @attention_1(%x0 : tensor<2x4x3x8xf32>, %x1 : tensor<2x4x5x8xf32>, %x2 : tensor<2x4x5x6xf32>, %x3 : tensor<2x1x1x5xf32>) -> tensor<2x4x3x6xf32> {
  // CHECK: graph.attention %x0, %x1, %x2, %x3 {scale = 0.25, softcap = 30.0} : (tensor<2x4x3x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x6xf32>, tensor<2x1x1x5xf32>) -> tensor<2x4x3x6xf32>
  %r0 = graph.attention %x0, %x1, %x2, %x3 {scale = 0.25, softcap = 30.0} : (tensor<2x4x3x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x6xf32>, tensor<2x1x1x5xf32>) -> tensor<2x4x3x6xf32> loc("attention")
  func.return %r0 : tensor<2x4x3x6xf32>
}
func.func @attention_by_width(%x0 : tensor<2x?x3x?xf32, ["g*(h floordiv g)", "d"]>, %x1 : tensor<2x?x5x?xf32, ["g", "d"]>) -> tensor<2x?x3x?xf32, ["g*(h floordiv g)", "d"]> {
  // CHECK: graph.attention %x0, %x1, %x1 {scale = 1.0, by_width = true} :
  %r0 = graph.attention %x0, %x1, %x1 {scale = 1.0, by_width = true} : (tensor<2x?x3x?xf32, ["g*(h floordiv g)", "d"]>, tensor<2x?x5x?xf32, ["g", "d"]>, tensor<2x?x5x?xf32, ["g", "d"]>) -> tensor<2x?x3x?xf32, ["g*(h floordiv g)", "d"]>
  func.return %r0 : tensor<2x?x3x?xf32, ["g*(h floordiv g)", "d"]>
}
