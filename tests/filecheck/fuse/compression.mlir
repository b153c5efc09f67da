// RUN: penstock opt -p form-dispatches %s | filecheck %s

// Compressed weights are decoded in every dispatch that reads them: no kernel writes them to memory.
// CHECK: graph.dispatch "map"
// CHECK: graph.decompress
// CHECK: graph.gather
// CHECK: graph.dispatch "contraction"
// CHECK: graph.decompress
// CHECK-NEXT: graph.matmul
// CHECK-NOT: graph.dispatch
builtin.module {
  func.func @both(%x : tensor<1x8xf32>, %i : tensor<1xi64>, %w : tensor<5x1x1x7x16xi32>, %e : tensor<9x2xi32>, %d : tensor<6x2xi32>) -> (tensor<1x8x16xf32>, tensor<1x66xf32>) {
    %b = graph.decompress %w, %e, %d : (tensor<5x1x1x7x16xi32>, tensor<9x2xi32>, tensor<6x2xi32>) -> tensor<5x8x16xf32> loc("w")
    %z = graph.gather %b, %i : (tensor<5x8x16xf32>, tensor<1xi64>) -> tensor<1x8x16xf32> loc("rows")
    %y = graph.matmul %x, %b {b_panel = 16, n = 66} : (tensor<1x8xf32>, tensor<5x8x16xf32>) -> tensor<1x66xf32> loc("fc")
    func.return %z, %y : tensor<1x8x16xf32>, tensor<1x66xf32>
  }
}
