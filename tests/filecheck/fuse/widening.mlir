// RUN: penstock opt -p form-dispatches %s | filecheck %s

builtin.module {
  // What is rounded to be widened again passes through memory in half the bytes: the kernel that computes it stores bf16,
  // and the one that slides a window over it widens it as it reads.
  // CHECK-LABEL: func.func @windows(
  // CHECK: graph.dispatch "depthwise" {{.*}} : tensor<1x3x3x2xf32>,
  // CHECK: graph.conv
  // CHECK: graph.cast {{.*}} -> tensor<1x3x3x2xbf16>
  // CHECK: graph.yield {{.*}}tensor<1x3x3x2xbf16>
  // CHECK: graph.dispatch "window" {{.*}}: tensor<1x3x3x2xbf16>
  // CHECK: graph.cast {{.*}} -> tensor<1x3x3x2xf32>
  // CHECK: graph.pool
  func.func @windows(%x : tensor<1x3x3x2xf32>) -> tensor<1x2x2x2xf32> {
    %d = graph.constant {value = dense<1.0> : tensor<1x1x1x2xf32>} : () -> tensor<1x1x1x2xf32> loc("d")
    %y = graph.conv %x, %d {layout = "channels_last", groups = 2} : (tensor<1x3x3x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x3x3x2xf32> loc("depthwise")
    %r = graph.cast %y : (tensor<1x3x3x2xf32>) -> tensor<1x3x3x2xbf16> loc("pool")
    %w = graph.cast %r : (tensor<1x3x3x2xbf16>) -> tensor<1x3x3x2xf32> loc("pool")
    %z = graph.pool %w {layout = "channels_last", kind = "max", window = [2, 2]} : (tensor<1x3x3x2xf32>) -> tensor<1x2x2x2xf32> loc("pool")
    func.return %z : tensor<1x2x2x2xf32>
  }

  // A zero that makes an inner extent even is added by the kernel that rounds.
  // CHECK-LABEL: func.func @padded(
  // CHECK-COUNT-1: graph.dispatch "map"
  // CHECK: graph.transpose
  // CHECK: graph.pad
  // CHECK: graph.cast
  // CHECK-NOT: graph.dispatch
  func.func @padded(%x : tensor<3x5xf32>) -> tensor<5x4xbf16> {
    %t = graph.transpose %x {permutation = [1, 0]} : (tensor<3x5xf32>) -> tensor<5x3xf32> loc("pad")
    %z = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("pad")
    %y = graph.pad %t, %z {low = [0, 0], high = [0, 1]} : (tensor<5x3xf32>, tensor<f32>) -> tensor<5x4xf32> loc("pad")
    %r = graph.cast %y : (tensor<5x4xf32>) -> tensor<5x4xbf16> loc("pad")
    func.return %r : tensor<5x4xbf16>
  }
}
