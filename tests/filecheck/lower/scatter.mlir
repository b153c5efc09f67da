// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v4}' %s | filecheck %s

// A scatter copies its part of the operand, then takes the updates one after the other: an index is counted from the
// end when it is negative, limited to the axis, and what stands there is read, combined and written back.
// CHECK: tile.kernel @rows(%[[X:.*]]: memref<2560xf32>, %[[I:.*]]: memref<7xi64>, %[[U:.*]]: memref<448xf32>, %[[Y:.*]]: memref<2560xf32>)
// CHECK: scf.for
// CHECK: scf.for
// CHECK: %[[ROW:.*]] = tile.load %[[X]], %[[AT:.*]] {strides = [1]} : (memref<2560xf32>, index) -> vector<64xf32>
// CHECK-NEXT: tile.store %[[ROW]], %[[Y]], %[[AT]]
// CHECK: scf.for
// CHECK: tile.load %[[I]]
// CHECK: tile.select
// CHECK-NEXT: tile.max
// CHECK-NEXT: tile.min
// CHECK: %[[NEW:.*]] = tile.load %[[U]]
// CHECK: %[[OLD:.*]] = tile.load %[[Y]], %[[PLACE:.*]] {strides = [1]}
// CHECK-NEXT: %[[SUM:.*]] = tile.add %[[OLD]], %[[NEW]]
// CHECK-NEXT: tile.store %[[SUM]], %[[Y]], %[[PLACE]]
func.func @main(%x : tensor<40x64xf32>, %i : tensor<7x1xi64>, %u : tensor<7x64xf32>) -> tensor<40x64xf32> {
  %0 = graph.dispatch "scatter" @rows(%a = %x : tensor<40x64xf32>, %b = %i : tensor<7x1xi64>, %c = %u : tensor<7x64xf32>) {
    %1 = graph.scatter_nd %a, %b, %c {reduction = "add"} : (tensor<40x64xf32>, tensor<7x1xi64>, tensor<7x64xf32>) -> tensor<40x64xf32> loc("scatter")
    graph.yield %1 : (tensor<40x64xf32>) -> () loc("scatter")
  } loc("scatter")
  func.return %0 : tensor<40x64xf32>
}
