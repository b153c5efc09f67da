// RUN: penstock opt -p canonicalise %s | filecheck %s

// What changes nothing is left out.
// CHECK-LABEL: func.func @identities
// CHECK-NEXT: func.return %x
func.func @identities(%x : tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %1 = graph.add %x, %0 : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32> loc("a")
  %2 = graph.neg %1 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("b")
  %3 = graph.neg %2 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("c")
  %4 = graph.slice %3 {starts = [0, 0], steps = [1, 1]} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("d")
  func.return %4 : tensor<2x3xf32>
}

// Chains of views are one view, located at all it replaces.
// CHECK-LABEL: func.func @views
// CHECK-NEXT: %{{.*}} = graph.transpose %x {permutation = [2, 0, 1]} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32> loc(fused["a", "b"])
// CHECK-NEXT: %{{.*}} = graph.reshape %{{.*}} : (tensor<4x2x3xf32>) -> tensor<24xf32> loc(fused["c", "d"])
// CHECK-NEXT: func.return
func.func @views(%x : tensor<2x3x4xf32>) -> tensor<24xf32> {
  %0 = graph.transpose %x {permutation = [0, 2, 1]} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32> loc("a")
  %1 = graph.transpose %0 {permutation = [1, 0, 2]} : (tensor<2x4x3xf32>) -> tensor<4x2x3xf32> loc("b")
  %2 = graph.reshape %1 : (tensor<4x2x3xf32>) -> tensor<8x3xf32> loc("c")
  %3 = graph.reshape %2 : (tensor<8x3xf32>) -> tensor<24xf32> loc("d")
  func.return %3 : tensor<24xf32>
}

// Powers, divisions and extrema by constants have their cheapest form.
// CHECK-LABEL: func.func @arithmetic
// CHECK: %[[SQUARE:.*]] = graph.mul %x, %x
// CHECK-NEXT: %[[QUARTER:.*]] = graph.constant {value = dense<2.500000e-01> : tensor<f32>}
// CHECK-NEXT: %[[SCALED:.*]] = graph.mul %[[SQUARE]], %[[QUARTER]]
// CHECK-NEXT: graph.relu %[[SCALED]]
func.func @arithmetic(%x : tensor<5xf32>) -> tensor<5xf32> {
  %0 = graph.constant {value = dense<2.0> : tensor<f32>} : () -> tensor<f32> loc("two")
  %1 = graph.constant {value = dense<4.0> : tensor<f32>} : () -> tensor<f32> loc("four")
  %2 = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %3 = graph.pow %x, %0 : (tensor<5xf32>, tensor<f32>) -> tensor<5xf32> loc("a")
  %4 = graph.div %3, %1 : (tensor<5xf32>, tensor<f32>) -> tensor<5xf32> loc("b")
  %5 = graph.max %2, %4 : (tensor<f32>, tensor<5xf32>) -> tensor<5xf32> loc("c")
  func.return %5 : tensor<5xf32>
}

// Elementwise ops broadcast by themselves.
// CHECK-LABEL: func.func @broadcast
// CHECK-NEXT: graph.add %x, %y : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT: func.return
func.func @broadcast(%x : tensor<2x3xf32>, %y : tensor<3xf32>) -> tensor<2x3xf32> {
  %0 = graph.expand %y : (tensor<3xf32>) -> tensor<2x3xf32> loc("a")
  %1 = graph.add %x, %0 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc("b")
  func.return %1 : tensor<2x3xf32>
}

// A gather at a known index is a slice, a pad with zeros belongs to the convolution.
// CHECK-LABEL: func.func @index
// CHECK-NEXT: %[[ROW:.*]] = graph.slice %x {starts = [0, 4], steps = [1, 1]} : (tensor<2x5xf32>) -> tensor<2x1xf32>
// CHECK-NEXT: graph.reshape %[[ROW]] : (tensor<2x1xf32>) -> tensor<2xf32>
func.func @index(%x : tensor<2x5xf32>) -> tensor<2xf32> {
  %0 = graph.constant {value = dense<-1> : tensor<i64>} : () -> tensor<i64> loc("last")
  %1 = graph.gather %x, %0 {axis = 1} : (tensor<2x5xf32>, tensor<i64>) -> tensor<2xf32> loc("a")
  func.return %1 : tensor<2xf32>
}

// CHECK-LABEL: func.func @pad
// CHECK-NEXT: graph.conv %x, %w {{{.*}}pads_low = [1], pads_high = [2]} : (tensor<1x2x8xf32>, tensor<3x2x3xf32>) -> tensor<1x3x9xf32>
func.func @pad(%x : tensor<1x2x8xf32>, %w : tensor<3x2x3xf32>) -> tensor<1x3x9xf32> {
  %0 = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %1 = graph.pad %x, %0 {low = [0, 0, 1], high = [0, 0, 2]} : (tensor<1x2x8xf32>, tensor<f32>) -> tensor<1x2x11xf32> loc("a")
  %2 = graph.conv %1, %w : (tensor<1x2x11xf32>, tensor<3x2x3xf32>) -> tensor<1x3x9xf32> loc("b")
  func.return %2 : tensor<1x3x9xf32>
}
