// RUN: penstock opt %s | filecheck %s

// Winograd convolutions read back as they were written.
// CHECK: graph.winograd_conv %x, %u {tile = 2, out_channels = 20, pads_low = [1, 1], pads_high = [0, 1]} : (tensor<1x5x6x16xf32>, tensor<1x16x16x32xf32>) -> tensor<1x4x6x20xf32>
builtin.module {
  func.func @main(%x : tensor<1x5x6x16xf32>, %u : tensor<1x16x16x32xf32>) -> tensor<1x4x6x20xf32> {
    %y = graph.winograd_conv %x, %u {tile = 2, out_channels = 20, pads_low = [1, 1], pads_high = [0, 1]} : (tensor<1x5x6x16xf32>, tensor<1x16x16x32xf32>) -> tensor<1x4x6x20xf32> loc("conv")
    func.return %y : tensor<1x4x6x20xf32>
  }
}
