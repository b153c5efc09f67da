// RUN: penstock opt -p recognise-normalize %s | filecheck %s

// CHECK-LABEL: func.func @layer_norm
// CHECK-NEXT: graph.normalize %x {axes = [1], epsilon = 0.25} : (tensor<2x4xf32>) -> tensor<2x4xf32> loc(fused["sum", "mean", "sub", "square", "sum2", "mean2", "add", "sqrt", "div"])
// CHECK-NEXT: func.return
func.func @layer_norm(%x : tensor<2x4xf32>) -> tensor<2x4xf32> {
  %n = graph.constant {value = dense<4.0> : tensor<f32>} : () -> tensor<f32> loc("n")
  %e = graph.constant {value = dense<0.25> : tensor<f32>} : () -> tensor<f32> loc("e")
  %0 = graph.reduce %x {kind = "sum", axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32> loc("sum")
  %1 = graph.div %0, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32> loc("mean")
  %2 = graph.sub %x, %1 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32> loc("sub")
  %3 = graph.mul %2, %2 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("square")
  %4 = graph.reduce %3 {kind = "sum", axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32> loc("sum2")
  %5 = graph.div %4, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32> loc("mean2")
  %6 = graph.add %5, %e : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32> loc("add")
  %7 = graph.sqrt %6 : (tensor<2x1xf32>) -> tensor<2x1xf32> loc("sqrt")
  %8 = graph.div %2, %7 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32> loc("div")
  func.return %8 : tensor<2x4xf32>
}

// CHECK-LABEL: func.func @rms_norm
// CHECK-NEXT: graph.normalize %x {axes = [1], epsilon = 0.25, center = false}
// CHECK-NEXT: func.return
func.func @rms_norm(%x : tensor<2x4xf32>) -> tensor<2x4xf32> {
  %n = graph.constant {value = dense<0.25> : tensor<f32>} : () -> tensor<f32> loc("n")
  %0 = graph.mul %x, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("square")
  %1 = graph.reduce %0 {kind = "sum", axes = [1], keepdims = true} : (tensor<2x4xf32>) -> tensor<2x1xf32> loc("sum")
  %2 = graph.mul %1, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32> loc("mean")
  %3 = graph.add %2, %n : (tensor<2x1xf32>, tensor<f32>) -> tensor<2x1xf32> loc("add")
  %4 = graph.rsqrt %3 : (tensor<2x1xf32>) -> tensor<2x1xf32> loc("rsqrt")
  %5 = graph.mul %x, %4 : (tensor<2x4xf32>, tensor<2x1xf32>) -> tensor<2x4xf32> loc("mul")
  func.return %5 : tensor<2x4xf32>
}
