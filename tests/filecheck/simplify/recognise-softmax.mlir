// RUN: penstock opt -p recognise-softmax %s | filecheck %s

// CHECK: func.func @main
// CHECK-NEXT: graph.softmax %x {axis = 1} : (tensor<2x5xf32>) -> tensor<2x5xf32> loc(fused["max", "sub", "exp", "sum", "div"])
// CHECK-NEXT: func.return
func.func @main(%x : tensor<2x5xf32>) -> tensor<2x5xf32> {
  %0 = graph.reduce %x {kind = "max", axes = [1], keepdims = true} : (tensor<2x5xf32>) -> tensor<2x1xf32> loc("max")
  %1 = graph.sub %x, %0 : (tensor<2x5xf32>, tensor<2x1xf32>) -> tensor<2x5xf32> loc("sub")
  %2 = graph.exp %1 : (tensor<2x5xf32>) -> tensor<2x5xf32> loc("exp")
  %3 = graph.reduce %2 {kind = "sum", axes = [1], keepdims = true} : (tensor<2x5xf32>) -> tensor<2x1xf32> loc("sum")
  %4 = graph.div %2, %3 : (tensor<2x5xf32>, tensor<2x1xf32>) -> tensor<2x5xf32> loc("div")
  func.return %4 : tensor<2x5xf32>
}
