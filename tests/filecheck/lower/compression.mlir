// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v4}' %s | filecheck %s

// Eight rows of a strip are decoded from seven words; sums wait in scratch, where what the list of exceptions names is
// put right.
// CHECK: tile.kernel @fc(
// CHECK-DAG: %[[OWN:.*]] = tile.constant {value = -2013265921 : i32}
// CHECK-DAG: %[[SHARED:.*]] = tile.constant {value = 2013265920 : i32}
// CHECK-DAG: %[[SUMS:.*]] = tile.alloc
// CHECK: scf.for
// CHECK: scf.for
// CHECK-COUNT-7: tile.load %{{.*}} {strides = [0, 1]} : (memref<1120xi32>, index) -> vector<1x16xi32>
// CHECK: tile.and_ %{{.*}}, %[[SHARED]]
// CHECK: tile.and_ %{{.*}}, %[[OWN]]
// CHECK: tile.add
// CHECK: tile.cast %{{.*}} {mode = "bits"} : (vector<1x16xi32>) -> vector<1x16xf32>
// CHECK-COUNT-8: tile.fma
// CHECK: tile.store %{{.*}}, %[[SUMS]]
// CHECK: scf.for
// CHECK: tile.load %{{.*}} : (memref<18xi32>, index) -> i32
// CHECK: tile.load %[[SUMS]]
// CHECK-COUNT-2: tile.fma
// CHECK: tile.store %{{.*}}, %[[SUMS]]
// CHECK: tile.load %[[SUMS]]
// CHECK: tile.store
builtin.module {
  func.func @main(%x : tensor<1x16xf32> {penstock.name = "x"}, %w : tensor<5x2x1x7x16xi32> {penstock.name = "w"}, %e : tensor<9x2xi32> {penstock.name = "e"}, %d : tensor<6x2xi32> {penstock.name = "d"}) -> (tensor<1x80xf32> {penstock.name = "y"}) {
    %y = graph.dispatch "contraction" @fc(%a = %x : tensor<1x16xf32>, %p = %w : tensor<5x2x1x7x16xi32>, %q = %e : tensor<9x2xi32>, %r = %d : tensor<6x2xi32>) {
      %b = graph.decompress %p, %q, %r : (tensor<5x2x1x7x16xi32>, tensor<9x2xi32>, tensor<6x2xi32>) -> tensor<5x16x16xf32> loc("w")
      %z = graph.matmul %a, %b {b_panel = 16, n = 80} : (tensor<1x16xf32>, tensor<5x16x16xf32>) -> tensor<1x80xf32> loc("fc")
      graph.yield %z : (tensor<1x80xf32>) -> ()
    } loc("fc")
    func.return %y : tensor<1x80xf32>
  }
}
