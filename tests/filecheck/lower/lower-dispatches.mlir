// RUN: penstock opt -p lower-dispatches %s | filecheck %s
// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v3}' %s | filecheck %s --check-prefix ONE

// Two dispatches of one kernel: the function stays as it is, and beside it every instruction set level has the kernel
// once, located at the node it was first made for. Five elements are one vector: the tail is part of its type.
// CHECK: func.func @main
// CHECK-COUNT-2: graph.dispatch "map" @neg
// CHECK: graph.dispatch "map" @odd
// CHECK: func.return
// CHECK: builtin.module @"x86-64-v4" {
// CHECK-NEXT: tile.kernel @neg(%[[X:.*]]: memref<5xf32>, %[[Y:.*]]: memref<5xf32>) units(%[[BEGIN:.*]], %[[END:.*]] of 1)
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[END]]
// CHECK-NEXT: %[[V:.*]] = tile.load %[[X]], %{{.*}} {strides = [1]} : (memref<5xf32>, index) -> vector<5xf32> loc("one")
// CHECK-NEXT: %[[N:.*]] = tile.neg %[[V]]
// CHECK-NEXT: tile.store %[[N]], %[[Y]]
// CHECK-NOT: loc("two")
// CHECK: tile.kernel @odd
// CHECK: builtin.module @"x86-64-v3" {
// CHECK-NEXT: tile.kernel @neg
// CHECK: tile.kernel @odd
// CHECK-NOT: tile.kernel

// Asked for one level, there is one.
// ONE-NOT: x86-64-v4
// ONE: builtin.module @"x86-64-v3" {
// ONE-NEXT: tile.kernel @neg
// ONE-NOT: tile.kernel @neg

// 3 x 67 elements lie in a row: a loop over whole vectors, then one of the elements that are left.
// ONE: tile.kernel @odd(%[[X:.*]]: memref<201xf32>, %[[Y:.*]]: memref<201xf32>)
// ONE: %[[WHOLE:.*]] = tile.constant {value = 192 : index}
// ONE: scf.for %[[I:.*]] = %{{.*}} to %[[WHOLE]]
// ONE-NEXT: tile.load %[[X]], %[[I]] {strides = [1]} : (memref<201xf32>, index) -> vector<32xf32>
// ONE: tile.load %[[X]], %[[WHOLE]] {strides = [1]} : (memref<201xf32>, index) -> vector<9xf32>
// ONE: tile.store %{{.*}}, %[[Y]], %[[WHOLE]] {strides = [1]} : (vector<9xf32>, memref<201xf32>, index)
// ONE-NOT: tile.kernel
builtin.module {
  func.func @main(%x : tensor<5xf32> {penstock.name = "x"}, %m : tensor<3x67xf32> {penstock.name = "m"}) -> (tensor<5xf32> {penstock.name = "y"}, tensor<3x67xf32> {penstock.name = "n"}) {
    %a = graph.dispatch "map" @neg(%p = %x : tensor<5xf32>) {
      %r = graph.neg %p : (tensor<5xf32>) -> tensor<5xf32> loc("one")
      graph.yield %r : (tensor<5xf32>) -> ()
    } loc("one")
    %b = graph.dispatch "map" @neg(%p = %a : tensor<5xf32>) {
      %r = graph.neg %p : (tensor<5xf32>) -> tensor<5xf32> loc("two")
      graph.yield %r : (tensor<5xf32>) -> ()
    } loc("two")
    %c = graph.dispatch "map" @odd(%p = %m : tensor<3x67xf32>) {
      %r = graph.neg %p : (tensor<3x67xf32>) -> tensor<3x67xf32> loc("odd")
      graph.yield %r : (tensor<3x67xf32>) -> ()
    } loc("odd")
    func.return %b, %c : tensor<5xf32>, tensor<3x67xf32>
  }
}
