// RUN: penstock opt -p pack-weights %s | filecheck %s

builtin.module {
  // Five columns become one panel of sixteen, zero padded; the product knows that there are five.
  // CHECK-LABEL: func.func @matmul(
  // CHECK-NEXT: %[[V0:.*]] = graph.constant {key = "constant#{{[0-9a-f]+}}"} : () -> tensor<1x1x16xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.matmul %x, %[[V0]] {b_panel = 16, n = 5} : (tensor<2x1xf32>, tensor<1x1x16xf32>) -> tensor<2x5xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @matmul(%x : tensor<2x1xf32>) -> tensor<2x5xf32> {
    %w = graph.constant {value = dense<[[1.0, 2.0, 3.0, 4.0, 5.0]]> : tensor<1x5xf32>} : () -> tensor<1x5xf32> loc("w")
    %y = graph.matmul %x, %w : (tensor<2x1xf32>, tensor<1x5xf32>) -> tensor<2x5xf32> loc("fc")
    func.return %y : tensor<2x5xf32>
  }

  // Weights that are only known at run time are read as they are.
  // CHECK-LABEL: func.func @unknown(
  // CHECK-NEXT: %[[V0:.*]] = graph.matmul %x, %w : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<2x5xf32>
  // CHECK-NEXT: func.return %[[V0]]
  func.func @unknown(%x : tensor<2x3xf32>, %w : tensor<3x5xf32>) -> tensor<2x5xf32> {
    %y = graph.matmul %x, %w : (tensor<2x3xf32>, tensor<3x5xf32>) -> tensor<2x5xf32> loc("fc")
    func.return %y : tensor<2x5xf32>
  }

  // A convolution's panels are of output channels.
  // CHECK-LABEL: func.func @conv(
  // CHECK-NEXT: %[[V0:.*]] = graph.constant {key = "constant#{{[0-9a-f]+}}"} : () -> tensor<1x1x1x1x16xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.conv %x, %[[V0]] {layout = "channels_last", panel = 16, out_channels = 2} : (tensor<1x4x3x1xf32>, tensor<1x1x1x1x16xf32>) -> tensor<1x4x3x2xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @conv(%x : tensor<1x4x3x1xf32>) -> tensor<1x4x3x2xf32> {
    %w = graph.constant {value = dense<[[[[1.0, 2.0]]]]> : tensor<1x1x1x2xf32>} : () -> tensor<1x1x1x2xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last"} : (tensor<1x4x3x1xf32>, tensor<1x1x1x2xf32>) -> tensor<1x4x3x2xf32> loc("conv")
    func.return %y : tensor<1x4x3x2xf32>
  }

  // A depthwise convolution has one weight per channel and tap: nothing to pack.
  // CHECK-LABEL: func.func @depthwise(
  // CHECK-NEXT: %[[V0:.*]] = graph.constant {value = dense<[[[{{\[}}1.000000e+00, 2.000000e+00]]]]> : tensor<1x1x1x2xf32>} : () -> tensor<1x1x1x2xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.conv %x, %[[V0]] {layout = "channels_last", groups = 2} : (tensor<1x4x3x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x4x3x2xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @depthwise(%x : tensor<1x4x3x2xf32>) -> tensor<1x4x3x2xf32> {
    %w = graph.constant {value = dense<[[[[1.0, 2.0]]]]> : tensor<1x1x1x2xf32>} : () -> tensor<1x1x1x2xf32> loc("w")
    %y = graph.conv %x, %w {groups = 2, layout = "channels_last"} : (tensor<1x4x3x2xf32>, tensor<1x1x1x2xf32>) -> tensor<1x4x3x2xf32> loc("depthwise")
    func.return %y : tensor<1x4x3x2xf32>
  }
}
