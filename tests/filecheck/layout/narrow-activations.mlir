// RUN: penstock opt -p 'narrow-activations{precision=bf16}' %s | filecheck %s
// RUN: penstock opt -p 'narrow-activations{precision=bf16-weights}' %s | filecheck %s --check-prefix=FULL
// RUN: penstock opt -p narrow-activations %s | filecheck %s --check-prefix=FULL

builtin.module {
  // What a product reads rounded is read so by a sum, too, in its own shape.
  // CHECK-LABEL: func.func @residual(
  // CHECK: %[[V:.*]] = graph.relu %x
  // CHECK-NEXT: %[[FLAT:.*]] = graph.reshape %[[V]] : (tensor<1x2x4xf32>) -> tensor<2x4xf32>
  // CHECK-NEXT: %[[ROUND:.*]] = graph.cast %[[FLAT]] : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  // CHECK-NEXT: %[[BACK:.*]] = graph.reshape %[[ROUND]] : (tensor<2x4xbf16>) -> tensor<1x2x4xbf16>
  // CHECK-NEXT: %[[WIDE:.*]] = graph.cast %[[BACK]] : (tensor<1x2x4xbf16>) -> tensor<1x2x4xf32>
  // CHECK: graph.matmul %[[ROUND]],
  // CHECK: graph.add %{{.*}}, %[[WIDE]]
  // FULL-LABEL: func.func @residual(
  // FULL: %[[V:.*]] = graph.relu %x
  // FULL: graph.add %{{.*}}, %[[V]]
  func.func @residual(%x : tensor<1x2x4xf32>) -> tensor<1x2x4xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4x2xbf16>} : () -> tensor<1x2x4x2xbf16> loc("w")
    %v = graph.relu %x : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("v")
    %flat = graph.reshape %v : (tensor<1x2x4xf32>) -> tensor<2x4xf32> loc("flat")
    %c = graph.cast %flat : (tensor<2x4xf32>) -> tensor<2x4xbf16> loc("fc")
    %y = graph.matmul %c, %w {b_panel = 4, n = 4, pairs = true} : (tensor<2x4xbf16>, tensor<1x2x4x2xbf16>) -> tensor<2x4xf32> loc("fc")
    %z = graph.reshape %y : (tensor<2x4xf32>) -> tensor<1x2x4xf32> loc("z")
    %s = graph.add %z, %v : (tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("sum")
    func.return %s : tensor<1x2x4xf32>
  }

  // Sums go on from what is normalised in f32.
  // CHECK-LABEL: func.func @norm(
  // CHECK: %[[V:.*]] = graph.mul
  // CHECK: graph.add %{{.*}}, %[[V]]
  func.func @norm(%x : tensor<2x4xf32>, %g : tensor<4xf32>) -> tensor<2x4xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4x2xbf16>} : () -> tensor<1x2x4x2xbf16> loc("w")
    %n = graph.normalize %x {axes = [1], epsilon = 1.0e-5} : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("n")
    %v = graph.mul %n, %g : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("v")
    %c = graph.cast %v : (tensor<2x4xf32>) -> tensor<2x4xbf16> loc("fc")
    %y = graph.matmul %c, %w {b_panel = 4, n = 4, pairs = true} : (tensor<2x4xbf16>, tensor<1x2x4x2xbf16>) -> tensor<2x4xf32> loc("fc")
    %s = graph.add %y, %v : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("sum")
    func.return %s : tensor<2x4xf32>
  }

  // A result of the model is stored in f32, and the sum reads that; so it is with what no kernel computes.
  // CHECK-LABEL: func.func @kept(
  // CHECK: %[[V:.*]] = graph.relu %x
  // CHECK: graph.add %{{.*}}, %[[V]]
  // CHECK-LABEL: func.func @given(
  // CHECK: graph.add %{{.*}}, %x
  func.func @kept(%x : tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4x2xbf16>} : () -> tensor<1x2x4x2xbf16> loc("w")
    %v = graph.relu %x : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("v")
    %c = graph.cast %v : (tensor<2x4xf32>) -> tensor<2x4xbf16> loc("fc")
    %y = graph.matmul %c, %w {b_panel = 4, n = 4, pairs = true} : (tensor<2x4xbf16>, tensor<1x2x4x2xbf16>) -> tensor<2x4xf32> loc("fc")
    %s = graph.add %y, %v : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("sum")
    func.return %s, %v : tensor<2x4xf32>, tensor<2x4xf32>
  }

  func.func @given(%x : tensor<2x4xf32>) -> tensor<2x4xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4x2xbf16>} : () -> tensor<1x2x4x2xbf16> loc("w")
    %c = graph.cast %x : (tensor<2x4xf32>) -> tensor<2x4xbf16> loc("fc")
    %y = graph.matmul %c, %w {b_panel = 4, n = 4, pairs = true} : (tensor<2x4xbf16>, tensor<1x2x4x2xbf16>) -> tensor<2x4xf32> loc("fc")
    %s = graph.add %y, %x : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("sum")
    func.return %s : tensor<2x4xf32>
  }

  // Depthwise convolutions and pools read half the bytes.
  // CHECK-LABEL: func.func @windows(
  // CHECK: %[[V:.*]] = graph.relu %x
  // CHECK-NEXT: %[[ROUND:.*]] = graph.cast %[[V]] : (tensor<1x3x3x2xf32>) -> tensor<1x3x3x2xbf16>
  // CHECK-NEXT: %[[WIDE:.*]] = graph.cast %[[ROUND]] : (tensor<1x3x3x2xbf16>) -> tensor<1x3x3x2xf32>
  // CHECK: graph.conv %[[WIDE]],
  // CHECK: graph.cast
  // CHECK: graph.cast
  // CHECK: graph.pool
  // FULL-LABEL: func.func @windows(
  // FULL-NOT: graph.cast
  func.func @windows(%x : tensor<1x3x3x2xf32>) -> tensor<1x2x2x2xf32> {
    %d = graph.constant {value = dense<1.0> : tensor<1x1x1x2xf32>} : () -> tensor<1x1x1x2xf32> loc("d")
    %v = graph.relu %x : (tensor<1x3x3x2xf32>) -> tensor<1x3x3x2xf32> loc("v")
    %y = graph.conv %v, %d {layout = "channels_last", groups = 2} : (tensor<1x3x3x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x3x3x2xf32> loc("depthwise")
    %z = graph.pool %y {layout = "channels_last", kind = "max", window = [2, 2]} : (tensor<1x3x3x2xf32>) -> tensor<1x2x2x2xf32> loc("pool")
    func.return %z : tensor<1x2x2x2xf32>
  }
}
