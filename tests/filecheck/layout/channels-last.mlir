// RUN: penstock opt -p channels-last %s | filecheck %s

builtin.module {
  // Input and weights are transposed before, the result after; window parameters stay as they are.
  // CHECK-LABEL: func.func @conv(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [0, 2, 3, 1]} : (tensor<1x3x9x7xf32>) -> tensor<1x9x7x3xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %w {permutation = [2, 3, 1, 0]} : (tensor<5x3x3x2xf32>) -> tensor<3x2x3x5xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.conv %[[V0]], %[[V1]] {strides = [2, 1], layout = "channels_last"} : (tensor<1x9x7x3xf32>, tensor<3x2x3x5xf32>) -> tensor<1x4x6x5xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.transpose %[[V2]] {permutation = [0, 3, 1, 2]} : (tensor<1x4x6x5xf32>) -> tensor<1x5x4x6xf32>
  // CHECK-NEXT: func.return %[[V3]]
  func.func @conv(%x : tensor<1x3x9x7xf32>, %w : tensor<5x3x3x2xf32>) -> tensor<1x5x4x6xf32> {
    %y = graph.conv %x, %w {strides = [2, 1], dilations = [1, 1], pads_low = [0, 0], pads_high = [0, 0], groups = 1} : (tensor<1x3x9x7xf32>, tensor<5x3x3x2xf32>) -> tensor<1x5x4x6xf32> loc("conv")
    func.return %y : tensor<1x5x4x6xf32>
  }

  // A window of one element without stride and pads is a matrix product over all positions.
  // CHECK-LABEL: func.func @pointwise(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [0, 2, 3, 1]} : (tensor<2x3x4x5xf32>) -> tensor<2x4x5x3xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %w {permutation = [2, 3, 1, 0]} : (tensor<7x3x1x1xf32>) -> tensor<1x1x3x7xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.reshape %[[V0]] : (tensor<2x4x5x3xf32>) -> tensor<40x3xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.reshape %[[V1]] : (tensor<1x1x3x7xf32>) -> tensor<3x7xf32>
  // CHECK-NEXT: %[[V4:.*]] = graph.matmul %[[V2]], %[[V3]] : (tensor<40x3xf32>, tensor<3x7xf32>) -> tensor<40x7xf32>
  // CHECK-NEXT: %[[V5:.*]] = graph.reshape %[[V4]] : (tensor<40x7xf32>) -> tensor<2x4x5x7xf32>
  // CHECK-NEXT: %[[V6:.*]] = graph.transpose %[[V5]] {permutation = [0, 3, 1, 2]} : (tensor<2x4x5x7xf32>) -> tensor<2x7x4x5xf32>
  // CHECK-NEXT: func.return %[[V6]]
  func.func @pointwise(%x : tensor<2x3x4x5xf32>, %w : tensor<7x3x1x1xf32>) -> tensor<2x7x4x5xf32> {
    %y = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], pads_low = [0, 0], pads_high = [0, 0], groups = 1} : (tensor<2x3x4x5xf32>, tensor<7x3x1x1xf32>) -> tensor<2x7x4x5xf32> loc("pointwise")
    func.return %y : tensor<2x7x4x5xf32>
  }

  // With a stride it stays a convolution.
  // CHECK-LABEL: func.func @strided(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [0, 2, 3, 1]} : (tensor<2x3x4x5xf32>) -> tensor<2x4x5x3xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %w {permutation = [2, 3, 1, 0]} : (tensor<7x3x1x1xf32>) -> tensor<1x1x3x7xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.conv %[[V0]], %[[V1]] {strides = [2, 2], layout = "channels_last"} : (tensor<2x4x5x3xf32>, tensor<1x1x3x7xf32>) -> tensor<2x2x3x7xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.transpose %[[V2]] {permutation = [0, 3, 1, 2]} : (tensor<2x2x3x7xf32>) -> tensor<2x7x2x3xf32>
  // CHECK-NEXT: func.return %[[V3]]
  func.func @strided(%x : tensor<2x3x4x5xf32>, %w : tensor<7x3x1x1xf32>) -> tensor<2x7x2x3xf32> {
    %y = graph.conv %x, %w {strides = [2, 2], dilations = [1, 1], pads_low = [0, 0], pads_high = [0, 0], groups = 1} : (tensor<2x3x4x5xf32>, tensor<7x3x1x1xf32>) -> tensor<2x7x2x3xf32> loc("strided")
    func.return %y : tensor<2x7x2x3xf32>
  }

  // Both results of a max pool with indices go back; indices count positions of the channels-first input all the while.
  // CHECK-LABEL: func.func @pool(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [0, 2, 1]} : (tensor<1x3x5xf32>) -> tensor<1x5x3xf32>
  // CHECK-NEXT: %[[V1:.*]], %[[V2:.*]] = graph.pool %[[V0]] {layout = "channels_last", kind = "max", window = [2], indices = true} : (tensor<1x5x3xf32>) -> (tensor<1x4x3xf32>, tensor<1x4x3xi64>)
  // CHECK-NEXT: %[[V3:.*]] = graph.transpose %[[V1]] {permutation = [0, 2, 1]} : (tensor<1x4x3xf32>) -> tensor<1x3x4xf32>
  // CHECK-NEXT: %[[V4:.*]] = graph.transpose %[[V2]] {permutation = [0, 2, 1]} : (tensor<1x4x3xi64>) -> tensor<1x3x4xi64>
  // CHECK-NEXT: func.return %[[V3]], %[[V4]]
  func.func @pool(%x : tensor<1x3x5xf32>) -> (tensor<1x3x4xf32>, tensor<1x3x4xi64>) {
    %y, %i = graph.pool %x {kind = "max", window = [2], strides = [1], dilations = [1], pads_low = [0], pads_high = [0], indices = true} : (tensor<1x3x5xf32>) -> (tensor<1x3x4xf32>, tensor<1x3x4xi64>) loc("pool")
    func.return %y, %i : tensor<1x3x4xf32>, tensor<1x3x4xi64>
  }

  // What has its channels last is left alone.
  // CHECK-LABEL: func.func @already(
  // CHECK-NEXT: %[[V0:.*]] = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], pads_low = [0, 0], pads_high = [0, 0], layout = "channels_last"} : (tensor<1x9x7x3xf32>, tensor<3x2x3x5xf32>) -> tensor<1x7x6x5xf32>
  // CHECK-NEXT: func.return %[[V0]]
  func.func @already(%x : tensor<1x9x7x3xf32>, %w : tensor<3x2x3x5xf32>) -> tensor<1x7x6x5xf32> {
    %y = graph.conv %x, %w {strides = [1, 1], dilations = [1, 1], pads_low = [0, 0], pads_high = [0, 0], groups = 1, layout = "channels_last"} : (tensor<1x9x7x3xf32>, tensor<3x2x3x5xf32>) -> tensor<1x7x6x5xf32> loc("already")
    func.return %y : tensor<1x7x6x5xf32>
  }
}
