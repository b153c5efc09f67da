// RUN: penstock opt %s | filecheck %s

// Pooling: every op reads back as it was written, parameters at their default left out.

func.func @pool_0(%x0 : tensor<1x3x8x8xf32>) -> tensor<1x3x3x3xf32> {
  // CHECK: graph.pool %x0 {strides = [2, 2], kind = "max", window = [3, 3]} : (tensor<1x3x8x8xf32>) -> tensor<1x3x3x3xf32>
  %r0 = graph.pool %x0 {strides = [2, 2], kind = "max", window = [3, 3]} : (tensor<1x3x8x8xf32>) -> tensor<1x3x3x3xf32> loc("pool")
  func.return %r0 : tensor<1x3x3x3xf32>
}
func.func @pool_1(%x0 : tensor<1x3x8xf32>) -> (tensor<1x3x7xf32>, tensor<1x3x7xi64>) {
  // CHECK: graph.pool %x0 {kind = "max", window = [2], indices = true} : (tensor<1x3x8xf32>) -> (tensor<1x3x7xf32>, tensor<1x3x7xi64>)
  %r0, %r1 = graph.pool %x0 {kind = "max", window = [2], indices = true} : (tensor<1x3x8xf32>) -> (tensor<1x3x7xf32>, tensor<1x3x7xi64>) loc("pool")
  func.return %r0, %r1 : tensor<1x3x7xf32>, tensor<1x3x7xi64>
}
func.func @pool_2(%x0 : tensor<1x8x8x3xf16>) -> tensor<1x7x7x3xf16> {
  // CHECK: graph.pool %x0 {pads_low = [1, 1], layout = "channels_last", kind = "average", window = [3, 3]} : (tensor<1x8x8x3xf16>) -> tensor<1x7x7x3xf16>
  %r0 = graph.pool %x0 {pads_low = [1, 1], layout = "channels_last", kind = "average", window = [3, 3]} : (tensor<1x8x8x3xf16>) -> tensor<1x7x7x3xf16> loc("pool")
  func.return %r0 : tensor<1x7x7x3xf16>
}
