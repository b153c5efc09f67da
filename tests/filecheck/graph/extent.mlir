// RUN: penstock opt %s | filecheck %s

// Extent: every op reads back as it was written, parameters at their default left out.

func.func @extent_0() -> tensor<2xi64> {
  // CHECK: graph.extent {values = [3, 4]} : () -> tensor<2xi64>
  %r0 = graph.extent {values = [3, 4]} : () -> tensor<2xi64> loc("extent")
  func.return %r0 : tensor<2xi64>
}
func.func @extent_1(%x0 : tensor<?x4xf32, ["batch:1..64"]>) -> tensor<2x1xi64> {
  // CHECK: graph.extent {values = ["4*batch:1..64", 4]} : () -> tensor<2x1xi64>
  %r0 = graph.extent {values = ["4*batch:1..64", 4]} : () -> tensor<2x1xi64> loc("extent")
  func.return %r0 : tensor<2x1xi64>
}
