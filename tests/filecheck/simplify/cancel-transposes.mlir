// RUN: penstock opt -p cancel-transposes %s | filecheck %s

// A transpose goes through elementwise ops, reductions and softmax, and meets its inverse.
// CHECK-LABEL: func.func @cancel
// CHECK-NEXT: %[[A:.*]] = graph.relu %x
// CHECK-NEXT: %[[B:.*]] = graph.softmax %[[A]] {axis = 2} : (tensor<4x5x3xf32>) -> tensor<4x5x3xf32>
// CHECK-NEXT: func.return %[[B]]
func.func @cancel(%x : tensor<4x5x3xf32>) -> tensor<4x5x3xf32> {
  %0 = graph.transpose %x {permutation = [2, 0, 1]} : (tensor<4x5x3xf32>) -> tensor<3x4x5xf32> loc("to")
  %1 = graph.relu %0 : (tensor<3x4x5xf32>) -> tensor<3x4x5xf32> loc("a")
  %2 = graph.softmax %1 {axis = 0} : (tensor<3x4x5xf32>) -> tensor<3x4x5xf32> loc("b")
  %3 = graph.transpose %2 {permutation = [1, 2, 0]} : (tensor<3x4x5xf32>) -> tensor<4x5x3xf32> loc("back")
  func.return %3 : tensor<4x5x3xf32>
}

// Where another operand is not transposed it stays.
// CHECK-LABEL: func.func @stuck
// CHECK-NEXT: graph.transpose
// CHECK-NEXT: graph.add
func.func @stuck(%x : tensor<4x5xf32>, %y : tensor<5x4xf32>) -> tensor<5x4xf32> {
  %0 = graph.transpose %x {permutation = [1, 0]} : (tensor<4x5xf32>) -> tensor<5x4xf32> loc("a")
  %1 = graph.add %0, %y : (tensor<5x4xf32>, tensor<5x4xf32>) -> tensor<5x4xf32> loc("b")
  func.return %1 : tensor<5x4xf32>
}
