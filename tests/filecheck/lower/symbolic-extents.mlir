// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v4}' %s | filecheck %s

// The kernel has one more buffer, before its output: the values of the symbols, in order of their names. What it needs
// of them is computed at its head, once.
// CHECK: tile.kernel @neg(%[[X:.*]]: memref<?xf32, ["8*batch*seq"]>, %[[SIZES:.*]]: memref<2xi64>, %[[Y:.*]]: memref<?xf32, ["8*batch*seq"]>)
// CHECK-SAME: units(%{{.*}}, %{{.*}} of "(8*batch*seq + 4095) floordiv 4096") attributes {sizes = ["batch", "seq"]
// CHECK: tile.load %[[SIZES]]
// CHECK: tile.load %[[SIZES]]
// CHECK: tile.divu

// Whole vectors in a loop, then one of which as many lanes are touched as there are elements left.
// CHECK: scf.for
// CHECK: tile.load %[[X]], %{{.*}} {strides = [1]} : (memref<?xf32, ["8*batch*seq"]>, index) -> vector<64xf32>
// CHECK: scf.if
// CHECK: tile.load %[[X]], %{{.*}}, %{{.*}} {strides = [1], limited = [0]}
// CHECK: tile.store %{{.*}}, %[[Y]], %{{.*}}, %{{.*}} {strides = [1], limited = [0]}

// Rows of a product: whole tiles in a loop, then tiles of powers of two, each where the number of rows left has it.
// CHECK: tile.kernel @product
// CHECK: scf.for
// CHECK: vector<13x32xf32>
// CHECK: scf.if
// CHECK: vector<8x32xf32>
// CHECK: scf.if
// CHECK: vector<4x32xf32>
// CHECK: scf.if
// CHECK: vector<2x32xf32>
// CHECK: scf.if
// CHECK: vector<1x32xf32>
builtin.module {
  func.func @main(%x : tensor<?x?x8xf32, ["batch", "seq"]> {penstock.name = "x"}, %w : tensor<8x32xf32> {penstock.name = "w"}) -> (tensor<?x?x8xf32, ["batch", "seq"]> {penstock.name = "y"}, tensor<?x?x32xf32, ["batch", "seq"]> {penstock.name = "z"}) {
    %y = graph.dispatch "map" @neg(%p = %x : tensor<?x?x8xf32, ["batch", "seq"]>) {
      %r = graph.neg %p : (tensor<?x?x8xf32, ["batch", "seq"]>) -> tensor<?x?x8xf32, ["batch", "seq"]> loc("neg")
      graph.yield %r : (tensor<?x?x8xf32, ["batch", "seq"]>) -> () loc("neg")
    } loc("neg")
    %z = graph.dispatch "contraction" @product(%p = %x : tensor<?x?x8xf32, ["batch", "seq"]>, %q = %w : tensor<8x32xf32>) {
      %r = graph.matmul %p, %q : (tensor<?x?x8xf32, ["batch", "seq"]>, tensor<8x32xf32>) -> tensor<?x?x32xf32, ["batch", "seq"]> loc("product")
      graph.yield %r : (tensor<?x?x32xf32, ["batch", "seq"]>) -> () loc("product")
    } loc("product")
    func.return %y, %z : tensor<?x?x8xf32, ["batch", "seq"]>, tensor<?x?x32xf32, ["batch", "seq"]>
  }
}
