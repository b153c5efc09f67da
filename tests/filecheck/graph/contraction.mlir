// RUN: penstock opt %s | filecheck %s

// Matrix products: every op reads back as it was written, parameters at their default left out.

func.func @matmul_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3x4xf32>) -> tensor<2x4xf32> {
  // CHECK: graph.matmul %x0, %x1 : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
  %r0 = graph.matmul %x0, %x1 : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32> loc("matmul")
  func.return %r0 : tensor<2x4xf32>
}
func.func @matmul_1(%x0 : tensor<5x1x2x3xf16>, %x1 : tensor<6x3x4xf16>) -> tensor<5x6x2x4xf16> {
  // CHECK: graph.matmul %x0, %x1 : (tensor<5x1x2x3xf16>, tensor<6x3x4xf16>) -> tensor<5x6x2x4xf16>
  %r0 = graph.matmul %x0, %x1 : (tensor<5x1x2x3xf16>, tensor<6x3x4xf16>) -> tensor<5x6x2x4xf16> loc("matmul")
  func.return %r0 : tensor<5x6x2x4xf16>
}
func.func @matmul_2(%x0 : tensor<2x3xf32>, %x1 : tensor<2x3x8xf32>) -> tensor<2x13xf32> {
  // CHECK: graph.matmul %x0, %x1 {b_panel = 8, n = 13} : (tensor<2x3xf32>, tensor<2x3x8xf32>) -> tensor<2x13xf32>
  %r0 = graph.matmul %x0, %x1 {b_panel = 8, n = 13} : (tensor<2x3xf32>, tensor<2x3x8xf32>) -> tensor<2x13xf32> loc("matmul")
  func.return %r0 : tensor<2x13xf32>
}
func.func @matmul_3(%x0 : tensor<2x3xf32>, %x1 : tensor<3x4xbf16>) -> tensor<2x4xf32> {
  // CHECK: graph.matmul %x0, %x1 : (tensor<2x3xf32>, tensor<3x4xbf16>) -> tensor<2x4xf32>
  %r0 = graph.matmul %x0, %x1 : (tensor<2x3xf32>, tensor<3x4xbf16>) -> tensor<2x4xf32> loc("matmul")
  func.return %r0 : tensor<2x4xf32>
}
func.func @pack_0(%x0 : tensor<3x13xf32>) -> tensor<2x3x8xf32> {
  // CHECK: graph.pack %x0 {panel = 8} : (tensor<3x13xf32>) -> tensor<2x3x8xf32>
  %r0 = graph.pack %x0 {panel = 8} : (tensor<3x13xf32>) -> tensor<2x3x8xf32> loc("pack")
  func.return %r0 : tensor<2x3x8xf32>
}
func.func @pack_1(%x0 : tensor<3x3x4x16xf32>) -> tensor<1x3x3x4x16xf32> {
  // CHECK: graph.pack %x0 {panel = 16} : (tensor<3x3x4x16xf32>) -> tensor<1x3x3x4x16xf32>
  %r0 = graph.pack %x0 {panel = 16} : (tensor<3x3x4x16xf32>) -> tensor<1x3x3x4x16xf32> loc("pack")
  func.return %r0 : tensor<1x3x3x4x16xf32>
}
