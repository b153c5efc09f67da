// RUN: penstock opt %s | filecheck %s

// Indexing: every op reads back as it was written, parameters at their default left out.

func.func @gather_0(%x0 : tensor<5x6xf32>, %x1 : tensor<2x2xi64>) -> tensor<5x2x2xf32> {
  // CHECK: graph.gather %x0, %x1 {axis = 1} : (tensor<5x6xf32>, tensor<2x2xi64>) -> tensor<5x2x2xf32>
  %r0 = graph.gather %x0, %x1 {axis = 1} : (tensor<5x6xf32>, tensor<2x2xi64>) -> tensor<5x2x2xf32> loc("gather")
  func.return %r0 : tensor<5x2x2xf32>
}
func.func @gather_1(%x0 : tensor<5x6xf32>, %x1 : tensor<i32>) -> tensor<6xf32> {
  // CHECK: graph.gather %x0, %x1 : (tensor<5x6xf32>, tensor<i32>) -> tensor<6xf32>
  %r0 = graph.gather %x0, %x1 : (tensor<5x6xf32>, tensor<i32>) -> tensor<6xf32> loc("gather")
  func.return %r0 : tensor<6xf32>
}
func.func @gather_elements_0(%x0 : tensor<5x6xf32>, %x1 : tensor<2x7xi64>) -> tensor<2x7xf32> {
  // CHECK: graph.gather_elements %x0, %x1 {axis = 1} : (tensor<5x6xf32>, tensor<2x7xi64>) -> tensor<2x7xf32>
  %r0 = graph.gather_elements %x0, %x1 {axis = 1} : (tensor<5x6xf32>, tensor<2x7xi64>) -> tensor<2x7xf32> loc("gather_elements")
  func.return %r0 : tensor<2x7xf32>
}
func.func @gather_nd_0(%x0 : tensor<2x3x4xf32>, %x1 : tensor<2x5x1xi64>) -> tensor<2x5x4xf32> {
  // CHECK: graph.gather_nd %x0, %x1 {batch_dims = 1} : (tensor<2x3x4xf32>, tensor<2x5x1xi64>) -> tensor<2x5x4xf32>
  %r0 = graph.gather_nd %x0, %x1 {batch_dims = 1} : (tensor<2x3x4xf32>, tensor<2x5x1xi64>) -> tensor<2x5x4xf32> loc("gather_nd")
  func.return %r0 : tensor<2x5x4xf32>
}
func.func @gather_nd_1(%x0 : tensor<2x3xf32>, %x1 : tensor<2xi64>) -> tensor<f32> {
  // CHECK: graph.gather_nd %x0, %x1 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<f32>
  %r0 = graph.gather_nd %x0, %x1 : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<f32> loc("gather_nd")
  func.return %r0 : tensor<f32>
}
