// RUN: penstock opt %s | filecheck %s

// Regions of interest: every op reads back as it was written, parameters at their default left out.

func.func @roi_align_0(%x0 : tensor<2x3x8x8xf32>, %x1 : tensor<5x4xf32>, %x2 : tensor<5xi64>) -> tensor<5x3x2x3xf32> {
  // CHECK: graph.roi_align %x0, %x1, %x2 {size = [2, 3]} : (tensor<2x3x8x8xf32>, tensor<5x4xf32>, tensor<5xi64>) -> tensor<5x3x2x3xf32>
  %r0 = graph.roi_align %x0, %x1, %x2 {size = [2, 3]} : (tensor<2x3x8x8xf32>, tensor<5x4xf32>, tensor<5xi64>) -> tensor<5x3x2x3xf32> loc("roi_align")
  func.return %r0 : tensor<5x3x2x3xf32>
}
func.func @roi_align_1(%x0 : tensor<2x3x8x8xf16>, %x1 : tensor<5x4xf16>, %x2 : tensor<5xi32>) -> tensor<5x3x1x1xf16> {
  // CHECK: graph.roi_align %x0, %x1, %x2 {size = [1, 1], scale = 0.25, kind = "max", samples = 2, half_pixel = true} : (tensor<2x3x8x8xf16>, tensor<5x4xf16>, tensor<5xi32>) -> tensor<5x3x1x1xf16>
  %r0 = graph.roi_align %x0, %x1, %x2 {size = [1, 1], scale = 0.25, kind = "max", samples = 2, half_pixel = true} : (tensor<2x3x8x8xf16>, tensor<5x4xf16>, tensor<5xi32>) -> tensor<5x3x1x1xf16> loc("roi_align")
  func.return %r0 : tensor<5x3x1x1xf16>
}
func.func @roi_max_pool_0(%x0 : tensor<2x3x8x8xf32>, %x1 : tensor<5x5xf32>) -> tensor<5x3x2x3xf32> {
  // CHECK: graph.roi_max_pool %x0, %x1 {size = [2, 3], scale = 0.5} : (tensor<2x3x8x8xf32>, tensor<5x5xf32>) -> tensor<5x3x2x3xf32>
  %r0 = graph.roi_max_pool %x0, %x1 {size = [2, 3], scale = 0.5} : (tensor<2x3x8x8xf32>, tensor<5x5xf32>) -> tensor<5x3x2x3xf32> loc("roi_max_pool")
  func.return %r0 : tensor<5x3x2x3xf32>
}
