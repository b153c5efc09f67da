// RUN: penstock opt -p decompose-conv-transpose,fold-constants,dce %s | filecheck %s

// Stride 2: one convolution whose output channels are two phases, interleaved.
// CHECK: %[[W:.*]] = graph.constant {value = dense<{{.*}}> : tensor<2x1x1xf32>}
// CHECK-NEXT: %[[C:.*]] = graph.conv %x, %[[W]] : (tensor<1x1x3xf32>, tensor<2x1x1xf32>) -> tensor<1x2x3xf32> loc("Up")
// CHECK-NEXT: %[[S:.*]] = graph.reshape %[[C]] : (tensor<1x2x3xf32>) -> tensor<1x1x2x3xf32>
// CHECK-NEXT: %[[T:.*]] = graph.transpose %[[S]] {permutation = [0, 1, 3, 2]}
// CHECK-NEXT: graph.reshape %[[T]] : (tensor<1x1x3x2xf32>) -> tensor<1x1x6xf32>
func.func @main(%x : tensor<1x1x3xf32>) -> tensor<1x1x6xf32> {
  %w = graph.constant {value = dense<[[[1.0, 2.0]]]> : tensor<1x1x2xf32>} : () -> tensor<1x1x2xf32> loc("w")
  %0 = graph.conv_transpose %x, %w {strides = [2]} : (tensor<1x1x3xf32>, tensor<1x1x2xf32>) -> tensor<1x1x6xf32> loc("Up")
  func.return %0 : tensor<1x1x6xf32>
}
