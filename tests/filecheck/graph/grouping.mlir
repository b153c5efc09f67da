// RUN: penstock opt %s | filecheck %s

// Grouping: every op reads back as it was written, parameters at their default left out.

func.func @group_0(%x0 : tensor<5x2xf32>) -> tensor<5xi64> {
  // CHECK: graph.group %{{.*}} : (tensor<5x2xf32>) -> (tensor<5xi64>, tensor<5xi64>, tensor<5xi64>)
  %r0, %r1, %r2 = graph.group %x0 : (tensor<5x2xf32>) -> (tensor<5xi64>, tensor<5xi64>, tensor<5xi64>) loc("group")
  func.return %r0 : tensor<5xi64>
}
func.func @suppress_0(%x0 : tensor<2x6x4xf32>, %x1 : tensor<2x3x6xf32>, %x2 : tensor<1xi64>, %x3 : tensor<1xf32>) -> tensor<2x3x3xi64> {
  // CHECK: graph.suppress %{{.*}} {room = 3} : (tensor<2x6x4xf32>, tensor<2x3x6xf32>, tensor<1xi64>, tensor<1xf32>) -> (tensor<2x3x3xi64>, tensor<2x3xi64>)
  %r0, %r1 = graph.suppress %x0, %x1, %x2, %x3 {room = 3} : (tensor<2x6x4xf32>, tensor<2x3x6xf32>, tensor<1xi64>, tensor<1xf32>) -> (tensor<2x3x3xi64>, tensor<2x3xi64>) loc("suppress")
  func.return %r0 : tensor<2x3x3xi64>
}
