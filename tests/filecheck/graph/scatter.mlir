// RUN: penstock opt %s | filecheck %s

// Scattering: every op reads back as it was written, parameters at their default left out.

func.func @scatter_nd_0(%x0 : tensor<4x3xf32>, %x1 : tensor<2x1xi64>, %x2 : tensor<2x3xf32>) -> tensor<4x3xf32> {
  // CHECK: graph.scatter_nd %x0, %x1, %x2 : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x3xf32>) -> tensor<4x3xf32>
  %r0 = graph.scatter_nd %x0, %x1, %x2 : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x3xf32>) -> tensor<4x3xf32> loc("scatter_nd")
  func.return %r0 : tensor<4x3xf32>
}
func.func @scatter_nd_1(%x0 : tensor<4x3xi64>, %x1 : tensor<5x2xi32>, %x2 : tensor<5xi64>) -> tensor<4x3xi64> {
  // CHECK: graph.scatter_nd %x0, %x1, %x2 {reduction = "add"} : (tensor<4x3xi64>, tensor<5x2xi32>, tensor<5xi64>) -> tensor<4x3xi64>
  %r0 = graph.scatter_nd %x0, %x1, %x2 {reduction = "add"} : (tensor<4x3xi64>, tensor<5x2xi32>, tensor<5xi64>) -> tensor<4x3xi64> loc("scatter_nd")
  func.return %r0 : tensor<4x3xi64>
}
func.func @scatter_elements_0(%x0 : tensor<4x3xf32>, %x1 : tensor<2x7xi64>, %x2 : tensor<2x7xf32>) -> tensor<4x3xf32> {
  // CHECK: graph.scatter_elements %x0, %x1, %x2 {reduction = "mul", axis = 1} : (tensor<4x3xf32>, tensor<2x7xi64>, tensor<2x7xf32>) -> tensor<4x3xf32>
  %r0 = graph.scatter_elements %x0, %x1, %x2 {axis = 1, reduction = "mul"} : (tensor<4x3xf32>, tensor<2x7xi64>, tensor<2x7xf32>) -> tensor<4x3xf32> loc("scatter_elements")
  func.return %r0 : tensor<4x3xf32>
}
