// RUN: penstock opt %s | filecheck %s

// Linear attention: every op reads back as it was written, parameters at their default left out.

func.func @linear_attention_0(%x0 : tensor<2x3x4x8xf32>, %x1 : tensor<2x3x2x8xf32>, %x2 : tensor<2x3x2x5xf32>, %x3 : tensor<2x2x8x5xf32>) -> (tensor<2x3x4x5xf32>, tensor<2x2x8x5xf32>) {
  // CHECK: graph.linear_attention %x0, %x1, %x2, %x3 : (tensor<2x3x4x8xf32>, tensor<2x3x2x8xf32>, tensor<2x3x2x5xf32>, tensor<2x2x8x5xf32>) -> (tensor<2x3x4x5xf32>, tensor<2x2x8x5xf32>)
  %r0, %r1 = graph.linear_attention %x0, %x1, %x2, %x3 : (tensor<2x3x4x8xf32>, tensor<2x3x2x8xf32>, tensor<2x3x2x5xf32>, tensor<2x2x8x5xf32>) -> (tensor<2x3x4x5xf32>, tensor<2x2x8x5xf32>) loc("linear_attention")
  func.return %r0, %r1 : tensor<2x3x4x5xf32>, tensor<2x2x8x5xf32>
}
func.func @linear_attention_1(%x0 : tensor<2x3x4x8xf16>, %x1 : tensor<2x3x2x8xf16>, %x2 : tensor<2x3x2x5xf16>, %x3 : tensor<2x2x8x5xf32>, %x4 : tensor<2x3x2x8xf32>, %x5 : tensor<2x3x2xf16>) -> (tensor<2x3x4x5xf16>, tensor<2x2x8x5xf32>) {
  // CHECK: graph.linear_attention %x0, %x1, %x2, %x3, %x4, %x5 {scale = 0.5, extras = "gate,beta"} : (tensor<2x3x4x8xf16>, tensor<2x3x2x8xf16>, tensor<2x3x2x5xf16>, tensor<2x2x8x5xf32>, tensor<2x3x2x8xf32>, tensor<2x3x2xf16>) -> (tensor<2x3x4x5xf16>, tensor<2x2x8x5xf32>)
  %r0, %r1 = graph.linear_attention %x0, %x1, %x2, %x3, %x4, %x5 {scale = 0.5, extras = "gate,beta"} : (tensor<2x3x4x8xf16>, tensor<2x3x2x8xf16>, tensor<2x3x2x5xf16>, tensor<2x2x8x5xf32>, tensor<2x3x2x8xf32>, tensor<2x3x2xf16>) -> (tensor<2x3x4x5xf16>, tensor<2x2x8x5xf32>) loc("linear_attention")
  func.return %r0, %r1 : tensor<2x3x4x5xf16>, tensor<2x2x8x5xf32>
}
