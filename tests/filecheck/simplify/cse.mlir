// RUN: penstock opt -p cse %s | filecheck %s

// Equal ops are one op, located at both; the order of the operands of a sum does not matter, that of a difference does.
// CHECK: %[[SUM:.*]] = graph.add %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc(fused["a", "b"])
// CHECK-NEXT: %[[PRODUCT:.*]] = graph.mul %[[SUM]], %[[SUM]]
// CHECK-NEXT: %[[ONE:.*]] = graph.sub %x, %y
// CHECK-NEXT: %[[OTHER:.*]] = graph.sub %y, %x
// CHECK-NEXT: func.return %[[PRODUCT]], %[[ONE]], %[[OTHER]]
func.func @main(%x : tensor<4xf32>, %y : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %0 = graph.add %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a")
  %1 = graph.add %y, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("b")
  %2 = graph.mul %0, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("c")
  %3 = graph.sub %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("d")
  %4 = graph.sub %y, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("e")
  func.return %2, %3, %4 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
