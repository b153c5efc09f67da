// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v4}' %s | filecheck %s

// Only the new rows are computed and stored, behind those that there are; what was kept is not read.
// CHECK: tile.kernel @append(%[[KEPT:.*]]: memref<144xf32>, %[[ROWS:.*]]: memref<32xf32>, %[[SIZES:.*]]: memref<1xi64>, %[[ALL:.*]]: memref<144xf32>)
// CHECK-NOT: tile.load %[[KEPT]]
// CHECK: tile.load %[[SIZES]]
// CHECK-NOT: tile.load %[[KEPT]]
// CHECK: tile.load %[[ROWS]]
// CHECK-NOT: tile.load %[[KEPT]]
// CHECK: tile.store %{{.*}}, %[[ALL]]
// CHECK-NOT: tile.store
builtin.module {
  func.func @main(%past : tensor<9x16xf32>, %x : tensor<2x16xf32>) -> tensor<9x16xf32> {
    %all = graph.dispatch "map" @append(%a = %past : tensor<9x16xf32>, %b = %x : tensor<2x16xf32>) {
      %0 = graph.append %a, %b {axis = 0, start = "n:0..9"} : (tensor<9x16xf32>, tensor<2x16xf32>) -> tensor<9x16xf32> loc("cat")
      graph.yield %0 : (tensor<9x16xf32>) -> () loc("cat")
    } loc("cat")
    func.return %all : tensor<9x16xf32> loc("main")
  } loc("main")
}
