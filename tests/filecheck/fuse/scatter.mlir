// RUN: penstock opt -p form-dispatches %s | filecheck %s

// A scatter builds its result up in memory: nothing that follows is in its dispatch. Views before it are.

// CHECK: graph.dispatch "scatter"
// CHECK: graph.reshape
// CHECK-NEXT: graph.scatter_nd
// CHECK-NEXT: graph.yield
// CHECK: graph.dispatch "map"
// CHECK: graph.relu
func.func @main(%x : tensor<12xf32>, %i : tensor<2x1xi64>, %u : tensor<2x3xf32>) -> tensor<4x3xf32> {
  %0 = graph.reshape %x : (tensor<12xf32>) -> tensor<4x3xf32> loc("view")
  %1 = graph.scatter_nd %0, %i, %u : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x3xf32>) -> tensor<4x3xf32> loc("scatter")
  %2 = graph.relu %1 : (tensor<4x3xf32>) -> tensor<4x3xf32> loc("relu")
  func.return %2 : tensor<4x3xf32>
}
