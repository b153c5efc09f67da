// RUN: penstock opt -p 'narrow-weights{precision=bf16-weights least=4}' %s | filecheck %s
// RUN: penstock opt -p 'narrow-weights{precision=bf16-weights}' %s | filecheck %s --check-prefix=LARGE
// RUN: penstock opt -p 'narrow-weights{precision=bf16 least=4}' %s | filecheck %s --check-prefix=PAIRS
// RUN: penstock opt -p narrow-weights %s | filecheck %s --check-prefix=FULL

// FULL-NOT: bf16
// LARGE-NOT: bf16
builtin.module {
  // The right operand of a product is stored narrowly; what is added stays as it is.
  // CHECK-LABEL: func.func @matmul(
  // CHECK: %[[W:.*]] = graph.constant {{.*}} : () -> tensor<1x2x4xbf16>
  // CHECK: graph.matmul %x, %[[W]] {b_panel = 4, n = 4} : (tensor<2x2xf32>, tensor<1x2x4xbf16>) -> tensor<2x4xf32>
  // CHECK: graph.add {{.*}} : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32>
  func.func @matmul(%x : tensor<2x2xf32>) -> tensor<2x4xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4xf32>} : () -> tensor<1x2x4xf32> loc("w")
    %b = graph.constant {value = dense<1.0> : tensor<4xf32>} : () -> tensor<4xf32> loc("b")
    %y = graph.matmul %x, %w {b_panel = 4, n = 4} : (tensor<2x2xf32>, tensor<1x2x4xf32>) -> tensor<2x4xf32> loc("fc")
    %z = graph.add %y, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("bias")
    func.return %z : tensor<2x4xf32>
  }

  // Weights of a convolution; those of a depthwise one are few and stay.
  // CHECK-LABEL: func.func @conv(
  // CHECK: graph.conv %x, %{{.*}} (tensor<1x4x3x2xf32>, tensor<1x1x1x2x16xbf16>) -> tensor<1x4x3x2xf32>
  // CHECK: graph.conv %{{.*}} (tensor<1x4x3x2xf32>, tensor<2x1x1x2xf32>)
  func.func @conv(%x : tensor<1x4x3x2xf32>) -> tensor<1x3x3x2xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x1x1x2x16xf32>} : () -> tensor<1x1x1x2x16xf32> loc("w")
    %d = graph.constant {value = dense<1.0> : tensor<2x1x1x2xf32>} : () -> tensor<2x1x1x2xf32> loc("d")
    %y = graph.conv %x, %w {layout = "channels_last", panel = 16, out_channels = 2} : (tensor<1x4x3x2xf32>, tensor<1x1x1x2x16xf32>) -> tensor<1x4x3x2xf32> loc("conv")
    %z = graph.conv %y, %d {layout = "channels_last", groups = 2} : (tensor<1x4x3x2xf32>, tensor<2x1x1x2xf32>) -> tensor<1x3x3x2xf32> loc("depthwise")
    func.return %z : tensor<1x3x3x2xf32>
  }

  // Rows of a narrow table are cast.
  // CHECK-LABEL: func.func @table(
  // CHECK: %[[ROWS:.*]] = graph.gather %{{.*}}, %i : (tensor<4x2xbf16>, tensor<3xi64>) -> tensor<3x2xbf16>
  // CHECK-NEXT: %[[WIDE:.*]] = graph.cast %[[ROWS]] : (tensor<3x2xbf16>) -> tensor<3x2xf32>
  // CHECK-NEXT: func.return %[[WIDE]]
  func.func @table(%i : tensor<3xi64>) -> tensor<3x2xf32> {
    %t = graph.constant {value = dense<1.0> : tensor<4x2xf32>} : () -> tensor<4x2xf32> loc("t")
    %y = graph.gather %t, %i : (tensor<4x2xf32>, tensor<3xi64>) -> tensor<3x2xf32> loc("rows")
    func.return %y : tensor<3x2xf32>
  }

  // Recurrent weights keep the views that say how they are stored.
  // CHECK-LABEL: func.func @recurrent(
  // CHECK: %[[W:.*]] = graph.constant {{.*}} : () -> tensor<1x1x2x2xbf16>
  // CHECK: graph.transpose %[[W]] {permutation = [0, 1, 3, 2]} : (tensor<1x1x2x2xbf16>) -> tensor<1x1x2x2xbf16>
  // CHECK: graph.reshape {{.*}} : (tensor<1x1x2x2xbf16>) -> tensor<1x2x2xbf16>
  // CHECK: graph.rnn {{.*}} : (tensor<3x1x2xf32>, tensor<1x2x2xf32>, tensor<1x2x2xbf16>,
  func.func @recurrent(%x : tensor<3x1x2xf32>, %w : tensor<1x2x2xf32>, %b : tensor<1x4xf32>, %h : tensor<1x1x2xf32>) -> tensor<3x1x1x2xf32> {
    %c = graph.constant {value = dense<1.0> : tensor<1x1x2x2xf32>} : () -> tensor<1x1x2x2xf32> loc("r")
    %t = graph.transpose %c {permutation = [0, 1, 3, 2]} : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> loc("r")
    %r = graph.reshape %t : (tensor<1x1x2x2xf32>) -> tensor<1x2x2xf32> loc("r")
    %y, %last = graph.rnn %x, %w, %r, %b, %h : (tensor<3x1x2xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>, tensor<1x4xf32>, tensor<1x1x2xf32>) -> (tensor<3x1x1x2xf32>, tensor<1x1x2xf32>) loc("rnn")
    func.return %y : tensor<3x1x1x2xf32>
  }

  // At the precision bf16, weights lie in pairs of rows, and what they are multiplied with is rounded once. An odd inner
  // extent gets a zero more where there are many columns; recurrences and tables are as with bf16-weights.
  // PAIRS-LABEL: func.func @recurrent(
  // PAIRS: graph.rnn {{.*}} : (tensor<3x1x2xf32>, tensor<1x2x2xf32>, tensor<1x2x2xbf16>,
  // PAIRS-LABEL: func.func @shared(
  // PAIRS-COUNT-1: graph.cast %x : (tensor<2x2xf32>) -> tensor<2x2xbf16>
  // PAIRS-NOT: graph.cast
  // PAIRS: graph.matmul {{.*}} {b_panel = 4, n = 4, pairs = true} : (tensor<2x2xbf16>, tensor<1x1x4x2xbf16>) -> tensor<2x4xf32>
  // PAIRS: graph.matmul {{.*}} {b_panel = 4, n = 3, pairs = true} : (tensor<2x2xbf16>, tensor<1x1x4x2xbf16>) -> tensor<2x3xf32>
  func.func @shared(%x : tensor<2x2xf32>) -> (tensor<2x4xf32>, tensor<2x3xf32>) {
    %w = graph.constant {value = dense<1.0> : tensor<1x2x4xf32>} : () -> tensor<1x2x4xf32> loc("w")
    %y = graph.matmul %x, %w {b_panel = 4, n = 4} : (tensor<2x2xf32>, tensor<1x2x4xf32>) -> tensor<2x4xf32> loc("q")
    %z = graph.matmul %x, %w {b_panel = 4, n = 3} : (tensor<2x2xf32>, tensor<1x2x4xf32>) -> tensor<2x3xf32> loc("k")
    func.return %y, %z : tensor<2x4xf32>, tensor<2x3xf32>
  }

  // PAIRS-LABEL: func.func @odd(
  // PAIRS: graph.matmul %x, {{.*}} {b_panel = 4, n = 4} : (tensor<2x3xf32>, tensor<1x3x4xbf16>) -> tensor<2x4xf32>
  func.func @odd(%x : tensor<2x3xf32>) -> tensor<2x4xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x3x4xf32>} : () -> tensor<1x3x4xf32> loc("w")
    %y = graph.matmul %x, %w {b_panel = 4, n = 4} : (tensor<2x3xf32>, tensor<1x3x4xf32>) -> tensor<2x4xf32> loc("q")
    func.return %y : tensor<2x4xf32>
  }

  // Attention of many queries multiplies pairs; its operands are rounded behind views, once each.
  // PAIRS-LABEL: func.func @attention(
  // PAIRS-NEXT: %[[X:.*]] = graph.cast %x : (tensor<16x8xf32>) -> tensor<16x8xbf16>
  // PAIRS-COUNT-3: graph.transpose {{.*}} : (tensor<1x16x2x4xbf16>) -> tensor<1x2x16x4xbf16>
  // PAIRS: graph.attention {{.*}} {scale = 0.5, pairs = true} : (tensor<1x2x16x4xbf16>, tensor<1x2x16x4xbf16>, tensor<1x2x16x4xbf16>) -> tensor<1x2x16x4xf32>
  // CHECK-LABEL: func.func @attention(
  // CHECK-NOT: bf16
  func.func @attention(%x : tensor<16x8xf32>) -> tensor<1x2x16x4xf32> {
    %s = graph.reshape %x : (tensor<16x8xf32>) -> tensor<1x16x2x4xf32> loc("heads")
    %h = graph.transpose %s {permutation = [0, 2, 1, 3]} : (tensor<1x16x2x4xf32>) -> tensor<1x2x16x4xf32> loc("heads")
    %y = graph.attention %h, %h, %h {scale = 0.5} : (tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>, tensor<1x2x16x4xf32>) -> tensor<1x2x16x4xf32> loc("attention")
    func.return %y : tensor<1x2x16x4xf32>
  }

  // One query, or pairs that do not come out: as it was.
  // CHECK-LABEL: func.func @few(
  // PAIRS-LABEL: func.func @few(
  // PAIRS-NOT: bf16
  func.func @few(%q : tensor<1x1x1x4xf32>, %x : tensor<1x1x16x3xf32>, %k : tensor<1x1x16x4xf32>) -> (tensor<1x1x1x4xf32>, tensor<1x1x16x3xf32>) {
    %y = graph.attention %q, %k, %k {scale = 0.5} : (tensor<1x1x1x4xf32>, tensor<1x1x16x4xf32>, tensor<1x1x16x4xf32>) -> tensor<1x1x1x4xf32> loc("decode")
    %z = graph.attention %x, %x, %x {scale = 0.5} : (tensor<1x1x16x3xf32>, tensor<1x1x16x3xf32>, tensor<1x1x16x3xf32>) -> tensor<1x1x16x3xf32> loc("odd")
    func.return %y, %z : tensor<1x1x1x4xf32>, tensor<1x1x16x3xf32>
  }

  // PAIRS-LABEL: func.func @padded(
  // PAIRS: %[[PAD:.*]] = graph.pad %x, {{.*}} {low = [0, 0], high = [0, 1]} : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x4xf32>
  // PAIRS-NEXT: %[[ROUND:.*]] = graph.cast %[[PAD]] : (tensor<2x4xf32>) -> tensor<2x4xbf16>
  // PAIRS: graph.matmul %[[ROUND]], {{.*}} {b_panel = 16, n = 16, pairs = true} : (tensor<2x4xbf16>, tensor<1x2x16x2xbf16>) -> tensor<2x16xf32>
  func.func @padded(%x : tensor<2x3xf32>) -> tensor<2x16xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x3x16xf32>} : () -> tensor<1x3x16xf32> loc("w")
    %y = graph.matmul %x, %w {b_panel = 16, n = 16} : (tensor<2x3xf32>, tensor<1x3x16xf32>) -> tensor<2x16xf32> loc("q")
    func.return %y : tensor<2x16xf32>
  }

  // PAIRS-LABEL: func.func @window(
  // PAIRS: graph.conv {{.*}} {layout = "channels_last", panel = 16, out_channels = 2, pairs = true} : (tensor<1x4x3x2xbf16>, tensor<1x1x1x1x16x2xbf16>) -> tensor<1x4x3x2xf32>
  func.func @window(%x : tensor<1x4x3x2xf32>) -> tensor<1x4x3x2xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<1x1x1x2x16xf32>} : () -> tensor<1x1x1x2x16xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last", panel = 16, out_channels = 2} : (tensor<1x4x3x2xf32>, tensor<1x1x1x2x16xf32>) -> tensor<1x4x3x2xf32> loc("conv")
    func.return %y : tensor<1x4x3x2xf32>
  }
}
