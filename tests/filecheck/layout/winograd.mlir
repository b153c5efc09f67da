// RUN: penstock opt -p winograd %s | filecheck %s
// RUN: penstock opt -p 'winograd{max-tile=2}' %s | filecheck %s --check-prefix=SMALL
// RUN: penstock opt -p 'winograd{max-tile=0}' %s | filecheck %s --check-prefix=NONE

builtin.module {
  // A large image takes tiles of 4: 36 products per tile and channel in place of 144.
  // CHECK-LABEL: func.func @large(
  // CHECK-NEXT: %[[U:.*]] = graph.constant {key = "constant#{{[0-9a-f]+}}"} : () -> tensor<1x36x16x32xf32>
  // CHECK-NEXT: graph.winograd_conv %x, %[[U]] {tile = 4, out_channels = 16, pads_low = [1, 1], pads_high = [1, 1]} : (tensor<1x24x24x16xf32>, tensor<1x36x16x32xf32>) -> tensor<1x24x24x16xf32>
  // SMALL-LABEL: func.func @large(
  // SMALL: graph.winograd_conv %x, %{{.*}} {tile = 2,
  // NONE-LABEL: func.func @large(
  // NONE-NOT: winograd_conv
  // NONE: graph.conv
  func.func @large(%x : tensor<1x24x24x16xf32>) -> tensor<1x24x24x16xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<3x3x16x16xf32>} : () -> tensor<3x3x16x16xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last", pads_low = [1, 1], pads_high = [1, 1]} : (tensor<1x24x24x16xf32>, tensor<3x3x16x16xf32>) -> tensor<1x24x24x16xf32> loc("conv")
    func.return %y : tensor<1x24x24x16xf32>
  }

  // Of one position there are fewer taps inside the image than points.
  // CHECK-LABEL: func.func @position(
  // CHECK-NOT: winograd_conv
  // CHECK: graph.conv
  func.func @position(%x : tensor<1x1x1x16xf32>) -> tensor<1x1x1x16xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<3x3x16x16xf32>} : () -> tensor<3x3x16x16xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last", pads_low = [1, 1], pads_high = [1, 1]} : (tensor<1x1x1x16xf32>, tensor<3x3x16x16xf32>) -> tensor<1x1x1x16xf32> loc("conv")
    func.return %y : tensor<1x1x1x16xf32>
  }

  // Steps of 2, channels that do not fill vectors, and weights that are not known are computed directly.
  // CHECK-LABEL: func.func @strided(
  // CHECK-NOT: winograd_conv
  // CHECK: graph.conv
  func.func @strided(%x : tensor<1x24x24x16xf32>) -> tensor<1x11x11x16xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<3x3x16x16xf32>} : () -> tensor<3x3x16x16xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last", strides = [2, 2]} : (tensor<1x24x24x16xf32>, tensor<3x3x16x16xf32>) -> tensor<1x11x11x16xf32> loc("conv")
    func.return %y : tensor<1x11x11x16xf32>
  }

  // CHECK-LABEL: func.func @colours(
  // CHECK-NOT: winograd_conv
  // CHECK: graph.conv
  func.func @colours(%x : tensor<1x24x24x3xf32>) -> tensor<1x22x22x16xf32> {
    %w = graph.constant {value = dense<1.0> : tensor<3x3x3x16xf32>} : () -> tensor<3x3x3x16xf32> loc("w")
    %y = graph.conv %x, %w {layout = "channels_last"} : (tensor<1x24x24x3xf32>, tensor<3x3x3x16xf32>) -> tensor<1x22x22x16xf32> loc("conv")
    func.return %y : tensor<1x22x22x16xf32>
  }

  // CHECK-LABEL: func.func @unknown(
  // CHECK-NOT: winograd_conv
  // CHECK: graph.conv
  func.func @unknown(%x : tensor<1x24x24x16xf32>, %w : tensor<3x3x16x16xf32>) -> tensor<1x22x22x16xf32> {
    %y = graph.conv %x, %w {layout = "channels_last"} : (tensor<1x24x24x16xf32>, tensor<3x3x16x16xf32>) -> tensor<1x22x22x16xf32> loc("conv")
    func.return %y : tensor<1x22x22x16xf32>
  }
}
