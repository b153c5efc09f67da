// RUN: penstock opt %s | filecheck %s

// Normalisation: every op reads back as it was written, parameters at their default left out.

func.func @normalize_0(%x0 : tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK: graph.normalize %x0 {axes = [2]} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %r0 = graph.normalize %x0 {axes = [2]} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32> loc("normalize")
  func.return %r0 : tensor<2x3x4xf32>
}
func.func @normalize_1(%x0 : tensor<2x3x4xf16>) -> tensor<2x3x4xf16> {
  // CHECK: graph.normalize %x0 {axes = [1, 2], epsilon = 1.0e-06, center = false} : (tensor<2x3x4xf16>) -> tensor<2x3x4xf16>
  %r0 = graph.normalize %x0 {axes = [1, 2], epsilon = 1.0e-06, center = false} : (tensor<2x3x4xf16>) -> tensor<2x3x4xf16> loc("normalize")
  func.return %r0 : tensor<2x3x4xf16>
}
func.func @softmax_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.softmax %x0 {axis = 1} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.softmax %x0 {axis = 1} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("softmax")
  func.return %r0 : tensor<2x3xf32>
}
func.func @log_softmax_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.log_softmax %x0 {axis = 0} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.log_softmax %x0 {axis = 0} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("log_softmax")
  func.return %r0 : tensor<2x3xf32>
}
