// RUN: penstock opt %s | filecheck %s

// Sampling: every op reads back as it was written, parameters at their default left out.

func.func @sample_0(%x0 : tensor<1x2x4x5xf32>, %x1 : tensor<1x3x6x2xf32>) -> tensor<1x2x3x6xf32> {
  // CHECK: graph.sample %x0, %x1 : (tensor<1x2x4x5xf32>, tensor<1x3x6x2xf32>) -> tensor<1x2x3x6xf32>
  %r0 = graph.sample %x0, %x1 : (tensor<1x2x4x5xf32>, tensor<1x3x6x2xf32>) -> tensor<1x2x3x6xf32> loc("sample")
  func.return %r0 : tensor<1x2x3x6xf32>
}
func.func @sample_1(%x0 : tensor<2x3x7xi64>, %x1 : tensor<2x5x1xf16>) -> tensor<2x3x5xi64> {
  // CHECK: graph.sample %x0, %x1 {mode = "nearest", outside = "reflection", align_corners = true} : (tensor<2x3x7xi64>, tensor<2x5x1xf16>) -> tensor<2x3x5xi64>
  %r0 = graph.sample %x0, %x1 {mode = "nearest", outside = "reflection", align_corners = true} : (tensor<2x3x7xi64>, tensor<2x5x1xf16>) -> tensor<2x3x5xi64> loc("sample")
  func.return %r0 : tensor<2x3x5xi64>
}
