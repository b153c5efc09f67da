// RUN: penstock opt %s | filecheck %s

// Ordering: every op reads back as it was written, parameters at their default left out.

func.func @top_k_0(%x0 : tensor<2x5xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>) {
  // CHECK: graph.top_k %x0 {axis = 1, k = 3} : (tensor<2x5xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  %r0, %r1 = graph.top_k %x0 {axis = 1, k = 3} : (tensor<2x5xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>) loc("top_k")
  func.return %r0, %r1 : tensor<2x3xf32>, tensor<2x3xi64>
}
func.func @top_k_1(%x0 : tensor<5xi32>) -> (tensor<0xi32>, tensor<0xi64>) {
  // CHECK: graph.top_k %x0 {axis = 0, k = 0, largest = false, sorted = false} : (tensor<5xi32>) -> (tensor<0xi32>, tensor<0xi64>)
  %r0, %r1 = graph.top_k %x0 {axis = 0, k = 0, largest = false, sorted = false} : (tensor<5xi32>) -> (tensor<0xi32>, tensor<0xi64>) loc("top_k")
  func.return %r0, %r1 : tensor<0xi32>, tensor<0xi64>
}
