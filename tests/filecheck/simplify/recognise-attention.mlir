// RUN: penstock opt -p recognise-attention,canonicalise,dce %s | filecheck %s

// A factor on the queries, keys transposed, a mask added, heads split from and joined to features.
// CHECK-LABEL: func.func @masked
// CHECK: %[[A:.*]] = graph.attention %q, %k, %v, %mask {scale = 0.25} : (tensor<1x2x3x16xf32>, tensor<1x2x5x16xf32>, tensor<1x2x5x16xf32>, tensor<1x1x1x5xf32>) -> tensor<1x2x3x16xf32> loc(fused["qk", "scale", "mask", "softmax", "av"])
// CHECK-NEXT: func.return %[[A]]
func.func @masked(%q : tensor<1x2x3x16xf32>, %k : tensor<1x2x5x16xf32>, %v : tensor<1x2x5x16xf32>,
                  %mask : tensor<1x1x1x5xf32>) -> tensor<1x2x3x16xf32> {
  %s = graph.constant {value = dense<0.25> : tensor<f32>} : () -> tensor<f32> loc("quarter")
  %0 = graph.transpose %k {permutation = [0, 1, 3, 2]} : (tensor<1x2x5x16xf32>) -> tensor<1x2x16x5xf32> loc("kt")
  %1 = graph.matmul %q, %0 : (tensor<1x2x3x16xf32>, tensor<1x2x16x5xf32>) -> tensor<1x2x3x5xf32> loc("qk")
  %2 = graph.mul %1, %s : (tensor<1x2x3x5xf32>, tensor<f32>) -> tensor<1x2x3x5xf32> loc("scale")
  %3 = graph.add %2, %mask : (tensor<1x2x3x5xf32>, tensor<1x1x1x5xf32>) -> tensor<1x2x3x5xf32> loc("mask")
  %4 = graph.softmax %3 {axis = 3} : (tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32> loc("softmax")
  %5 = graph.matmul %4, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x16xf32>) -> tensor<1x2x3x16xf32> loc("av")
  func.return %5 : tensor<1x2x3x16xf32>
}

// A constant mask that hides later keys is the causal rule.
// CHECK-LABEL: func.func @causal
// CHECK: graph.attention %{{.*}}, %{{.*}}, %{{.*}} {scale = 1.0, causal = true, causal_offset = 1}
func.func @causal(%q : tensor<2x4xf32>, %k : tensor<3x4xf32>, %v : tensor<3x4xf32>) -> tensor<2x4xf32> {
  %m = graph.constant {value = dense<"0x0000000000000000000080ff000000000000000000000000"> : tensor<2x3xf32>} : () -> tensor<2x3xf32> loc("m")
  %0 = graph.transpose %k {permutation = [1, 0]} : (tensor<3x4xf32>) -> tensor<4x3xf32> loc("kt")
  %1 = graph.matmul %q, %0 : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32> loc("qk")
  %2 = graph.add %1, %m : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32> loc("mask")
  %3 = graph.softmax %2 {axis = 1} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("softmax")
  %4 = graph.matmul %3, %v : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32> loc("av")
  func.return %4 : tensor<2x4xf32>
}

// Rows of minus infinity alone are 0 in attention, so the guard that tests the mask for them goes.
// CHECK-LABEL: func.func @guarded
// CHECK-NEXT: %[[A:.*]] = graph.attention %q, %k, %v, %mask {scale = 1.0}
// CHECK-NEXT: func.return %[[A]]
func.func @guarded(%q : tensor<1x2x3x16xf32>, %k : tensor<1x2x5x16xf32>, %v : tensor<1x2x5x16xf32>,
                   %mask : tensor<3x5xf32>) -> tensor<1x2x3x16xf32> {
  %z = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %n = graph.constant {value = dense<"0x000080ff"> : tensor<f32>} : () -> tensor<f32> loc("none")
  %0 = graph.transpose %k {permutation = [0, 1, 3, 2]} : (tensor<1x2x5x16xf32>) -> tensor<1x2x16x5xf32> loc("kt")
  %1 = graph.matmul %q, %0 : (tensor<1x2x3x16xf32>, tensor<1x2x16x5xf32>) -> tensor<1x2x3x5xf32> loc("qk")
  %2 = graph.add %1, %mask : (tensor<1x2x3x5xf32>, tensor<3x5xf32>) -> tensor<1x2x3x5xf32> loc("mask")
  %3 = graph.softmax %2 {axis = 3} : (tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32> loc("softmax")
  %4 = graph.reduce %mask {kind = "max", axes = [1], keepdims = true} : (tensor<3x5xf32>) -> tensor<3x1xf32> loc("peak")
  %5 = graph.eq %4, %n : (tensor<3x1xf32>, tensor<f32>) -> tensor<3x1xi1> loc("blind")
  %6 = graph.select %5, %z, %3 : (tensor<3x1xi1>, tensor<f32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32> loc("guard")
  %7 = graph.matmul %6, %v : (tensor<1x2x3x5xf32>, tensor<1x2x5x16xf32>) -> tensor<1x2x3x16xf32> loc("av")
  func.return %7 : tensor<1x2x3x16xf32>
}
