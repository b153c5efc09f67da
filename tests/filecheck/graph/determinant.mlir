// RUN: penstock opt %s | filecheck %s

// Determinants: every op reads back as it was written, parameters at their default left out.

func.func @det_0(%x0 : tensor<2x3x3xf32>) -> tensor<2xf32> {
  // CHECK: graph.det %x0 : (tensor<2x3x3xf32>) -> tensor<2xf32>
  %r0 = graph.det %x0 : (tensor<2x3x3xf32>) -> tensor<2xf32> loc("det")
  func.return %r0 : tensor<2xf32>
}
