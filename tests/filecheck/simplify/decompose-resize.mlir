// RUN: penstock opt -p decompose-resize %s | filecheck %s

// Nearest: one gather per axis that changes.
// CHECK-LABEL: func.func @nearest
// CHECK-NEXT: %[[I:.*]] = graph.constant {value = dense<[0, 0, 1, 1]> : tensor<4xi64>} : () -> tensor<4xi64> loc("Resize")
// CHECK-NEXT: %[[Y:.*]] = graph.gather %x, %[[I]] {axis = 1} : (tensor<3x2xf32>, tensor<4xi64>) -> tensor<3x4xf32> loc("Resize")
// CHECK-NEXT: func.return %[[Y]]
func.func @nearest(%x : tensor<3x2xf32>) -> tensor<3x4xf32> {
  %0 = graph.resize %x {mode = "nearest", scales = [1.0, 2.0], coordinate_mode = "asymmetric", nearest_mode = "floor"} : (tensor<3x2xf32>) -> tensor<3x4xf32> loc("Resize")
  func.return %0 : tensor<3x4xf32>
}

// Linear: two gathers, weighted and added.
// CHECK-LABEL: func.func @linear
// CHECK: %[[A:.*]] = graph.gather %x
// CHECK: %[[AW:.*]] = graph.mul %[[A]]
// CHECK: %[[B:.*]] = graph.gather %x
// CHECK: %[[BW:.*]] = graph.mul %[[B]]
// CHECK-NEXT: graph.add %[[AW]], %[[BW]]
// CHECK-NEXT: func.return
func.func @linear(%x : tensor<3x2xf32>) -> tensor<3x4xf32> {
  %0 = graph.resize %x {mode = "linear", scales = [1.0, 2.0]} : (tensor<3x2xf32>) -> tensor<3x4xf32> loc("Resize")
  func.return %0 : tensor<3x4xf32>
}
