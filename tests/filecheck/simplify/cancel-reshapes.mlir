// RUN: penstock opt -p cancel-reshapes %s | filecheck %s

// What stands between a reshape and the one that undoes it works on the lower rank; so does the other operand of a sum.
// CHECK-LABEL: func.func @linear
// CHECK-NEXT: %[[A:.*]] = graph.matmul %x, %w
// CHECK-NEXT: %[[B:.*]] = graph.add %[[A]], %bias : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32> loc("bias")
// CHECK-NEXT: %[[C:.*]] = graph.relu %[[B]] : (tensor<3x4xf32>) -> tensor<3x4xf32>
// CHECK-NEXT: %[[Y:.*]] = graph.reshape %y : (tensor<1x3x4xf32>) -> tensor<3x4xf32>
// CHECK-NEXT: %[[D:.*]] = graph.add %[[C]], %[[Y]]
// CHECK-NEXT: %[[E:.*]] = graph.softmax %[[D]] {axis = 1}
// CHECK-NEXT: func.return %[[E]]
func.func @linear(%x : tensor<3x4xf32>, %w : tensor<4x4xf32>, %bias : tensor<4xf32>, %y : tensor<1x3x4xf32>) -> tensor<3x4xf32> {
  %0 = graph.matmul %x, %w : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32> loc("matmul")
  %1 = graph.reshape %0 : (tensor<3x4xf32>) -> tensor<1x3x4xf32> loc("view")
  %2 = graph.add %1, %bias : (tensor<1x3x4xf32>, tensor<4xf32>) -> tensor<1x3x4xf32> loc("bias")
  %3 = graph.relu %2 : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32> loc("relu")
  %4 = graph.add %3, %y : (tensor<1x3x4xf32>, tensor<1x3x4xf32>) -> tensor<1x3x4xf32> loc("residual")
  %5 = graph.softmax %4 {axis = 2} : (tensor<1x3x4xf32>) -> tensor<1x3x4xf32> loc("softmax")
  %6 = graph.reshape %5 : (tensor<1x3x4xf32>) -> tensor<3x4xf32> loc("view2")
  func.return %6 : tensor<3x4xf32>
}

// A slice of features is taken before they are split.
// CHECK-LABEL: func.func @slice
// CHECK-NEXT: %[[S:.*]] = graph.slice %x {starts = [0, 4], steps = [1, 1]} : (tensor<3x8xf32>) -> tensor<3x4xf32>
// CHECK-NEXT: graph.reshape %[[S]] : (tensor<3x4xf32>) -> tensor<3x2x2xf32>
func.func @slice(%x : tensor<3x8xf32>) -> tensor<3x2x2xf32> {
  %0 = graph.reshape %x : (tensor<3x8xf32>) -> tensor<1x3x8xf32> loc("view")
  %1 = graph.slice %0 {starts = [0, 0, 4], steps = [1, 1, 1]} : (tensor<1x3x8xf32>) -> tensor<1x3x4xf32> loc("slice")
  %2 = graph.reshape %1 : (tensor<1x3x4xf32>) -> tensor<3x2x2xf32> loc("heads")
  func.return %2 : tensor<3x2x2xf32>
}

// An operand that broadcasts along an axis the reshape made keeps the reshape where it is.
// CHECK-LABEL: func.func @stuck
// CHECK-NEXT: graph.reshape
// CHECK-NEXT: graph.add
func.func @stuck(%x : tensor<6xf32>, %y : tensor<2x1xf32>) -> tensor<2x3xf32> {
  %0 = graph.reshape %x : (tensor<6xf32>) -> tensor<2x3xf32> loc("view")
  %1 = graph.add %0, %y : (tensor<2x3xf32>, tensor<2x1xf32>) -> tensor<2x3xf32> loc("add")
  func.return %1 : tensor<2x3xf32>
}
