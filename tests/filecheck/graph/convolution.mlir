// RUN: penstock opt %s | filecheck %s

// Convolutions: every op reads back as it was written, parameters at their default left out.

func.func @conv_0(%x0 : tensor<1x3x8x8xf32>, %x1 : tensor<6x3x3x3xf32>) -> tensor<1x6x4x4xf32> {
  // CHECK: graph.conv %x0, %x1 {strides = [2, 2], pads_low = [1, 1], pads_high = [1, 0]} : (tensor<1x3x8x8xf32>, tensor<6x3x3x3xf32>) -> tensor<1x6x4x4xf32>
  %r0 = graph.conv %x0, %x1 {strides = [2, 2], pads_low = [1, 1], pads_high = [1, 0]} : (tensor<1x3x8x8xf32>, tensor<6x3x3x3xf32>) -> tensor<1x6x4x4xf32> loc("conv")
  func.return %r0 : tensor<1x6x4x4xf32>
}
func.func @conv_1(%x0 : tensor<1x4x9xf32>, %x1 : tensor<8x2x3xf32>) -> tensor<1x8x5xf32> {
  // CHECK: graph.conv %x0, %x1 {dilations = [2], groups = 2} : (tensor<1x4x9xf32>, tensor<8x2x3xf32>) -> tensor<1x8x5xf32>
  %r0 = graph.conv %x0, %x1 {dilations = [2], groups = 2} : (tensor<1x4x9xf32>, tensor<8x2x3xf32>) -> tensor<1x8x5xf32> loc("conv")
  func.return %r0 : tensor<1x8x5xf32>
}
func.func @conv_2(%x0 : tensor<1x8x8x6xf32>, %x1 : tensor<3x3x1x6xf32>) -> tensor<1x6x6x6xf32> {
  // CHECK: graph.conv %x0, %x1 {layout = "channels_last", groups = 6} : (tensor<1x8x8x6xf32>, tensor<3x3x1x6xf32>) -> tensor<1x6x6x6xf32>
  %r0 = graph.conv %x0, %x1 {layout = "channels_last", groups = 6} : (tensor<1x8x8x6xf32>, tensor<3x3x1x6xf32>) -> tensor<1x6x6x6xf32> loc("conv")
  func.return %r0 : tensor<1x6x6x6xf32>
}
func.func @conv_3(%x0 : tensor<1x8x8x6xf32>, %x1 : tensor<2x3x3x6x8xf32>) -> tensor<1x6x6x10xf32> {
  // CHECK: graph.conv %x0, %x1 {layout = "channels_last", panel = 8, out_channels = 10} : (tensor<1x8x8x6xf32>, tensor<2x3x3x6x8xf32>) -> tensor<1x6x6x10xf32>
  %r0 = graph.conv %x0, %x1 {layout = "channels_last", panel = 8, out_channels = 10} : (tensor<1x8x8x6xf32>, tensor<2x3x3x6x8xf32>) -> tensor<1x6x6x10xf32> loc("conv")
  func.return %r0 : tensor<1x6x6x10xf32>
}
func.func @conv_transpose_0(%x0 : tensor<1x4x5x5xf32>, %x1 : tensor<4x3x3x3xf32>) -> tensor<1x3x12x11xf32> {
  // CHECK: graph.conv_transpose %x0, %x1 {strides = [2, 2], output_padding = [1, 0]} : (tensor<1x4x5x5xf32>, tensor<4x3x3x3xf32>) -> tensor<1x3x12x11xf32>
  %r0 = graph.conv_transpose %x0, %x1 {strides = [2, 2], output_padding = [1, 0]} : (tensor<1x4x5x5xf32>, tensor<4x3x3x3xf32>) -> tensor<1x3x12x11xf32> loc("conv_transpose")
  func.return %r0 : tensor<1x3x12x11xf32>
}
func.func @conv_transpose_1(%x0 : tensor<1x5x4xf32>, %x1 : tensor<3x4x2xf32>) -> tensor<1x7x4xf32> {
  // CHECK: graph.conv_transpose %x0, %x1 {layout = "channels_last", groups = 2} : (tensor<1x5x4xf32>, tensor<3x4x2xf32>) -> tensor<1x7x4xf32>
  %r0 = graph.conv_transpose %x0, %x1 {layout = "channels_last", groups = 2} : (tensor<1x5x4xf32>, tensor<3x4x2xf32>) -> tensor<1x7x4xf32> loc("conv_transpose")
  func.return %r0 : tensor<1x7x4xf32>
}
