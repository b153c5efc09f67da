// RUN: penstock opt -p dce %s | filecheck %s

// CHECK: func.func @main
// CHECK-NEXT: graph.neg %x
// CHECK-NEXT: func.return
func.func @main(%x : tensor<4xf32>) -> tensor<4xf32> {
  %0 = graph.exp %x : (tensor<4xf32>) -> tensor<4xf32> loc("a")
  %1 = graph.log %0 : (tensor<4xf32>) -> tensor<4xf32> loc("b")
  %2 = graph.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("c")
  func.return %2 : tensor<4xf32>
}
