// RUN: penstock opt %s | filecheck %s

// Compressed weights: the op reads back as it was written.

func.func @decompress_0(%x0 : tensor<2x3x4x7x16xi32>, %x1 : tensor<5x2xi32>, %x2 : tensor<3x2xi32>) -> tensor<2x24x64xf32> {
  // CHECK: graph.decompress %x0, %x1, %x2 : (tensor<2x3x4x7x16xi32>, tensor<5x2xi32>, tensor<3x2xi32>) -> tensor<2x24x64xf32>
  %r0 = graph.decompress %x0, %x1, %x2 : (tensor<2x3x4x7x16xi32>, tensor<5x2xi32>, tensor<3x2xi32>) -> tensor<2x24x64xf32> loc("decompress")
  func.return %r0 : tensor<2x24x64xf32>
}
