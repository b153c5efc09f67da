// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v3},compile-kernels' %s | filecheck %s
// RUN: penstock opt -p compile-kernels %s | filecheck %s --check-prefix NONE

// Every kernel learns how many bytes its code takes and how much scratch memory a thread must bring; nothing else
// changes: code is not IR. A kernel that two dispatches share is compiled once.
// CHECK: func.func @main
// CHECK: graph.dispatch "map" @neg
// CHECK-NOT: code_bytes
// CHECK: builtin.module @"x86-64-v3" {
// CHECK-NEXT: tile.kernel @neg({{.*}}) units({{.*}} of 1) attributes {unit_cost = {{[0-9.]+}} : f64, code_bytes = {{[1-9][0-9]*}} : i64, scratch_bytes = 0 : i64} {
// CHECK: tile.neg
// CHECK: tile.return
// CHECK-NOT: tile.kernel @neg

// A kernel with a tail has code of its own.
// CHECK: tile.kernel @odd({{.*}}) units({{.*}} of 1) attributes {unit_cost = {{[0-9.]+}} : f64, code_bytes = {{[1-9][0-9]*}} : i64, scratch_bytes = 0 : i64} {
// CHECK: tile.return
// CHECK-NOT: tile.kernel

// Where no instruction set level has kernels yet, nothing is compiled and dispatches stay.
// NONE: func.func @main
// NONE-COUNT-2: graph.dispatch "map" @neg
// NONE: graph.dispatch "map" @odd
// NONE-NOT: code_bytes
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
