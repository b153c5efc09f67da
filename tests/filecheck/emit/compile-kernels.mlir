// RUN: penstock opt -p 'lower-dispatches{isa=x86-64-v3},compile-kernels' %s | filecheck %s

// Every kernel learns how many bytes its code takes and how much scratch memory a thread must bring; nothing else
// changes: code is not IR.
// CHECK: builtin.module @"x86-64-v3" {
// CHECK-NEXT: tile.kernel @neg({{.*}}) units({{.*}} of 1) attributes {unit_cost = {{[0-9.]+}} : f64, code_bytes = {{[1-9][0-9]*}} : i64, scratch_bytes = 0 : i64} {
// CHECK: tile.neg
// CHECK: tile.return
builtin.module {
  func.func @main(%x : tensor<5xf32> {penstock.name = "x"}) -> (tensor<5xf32> {penstock.name = "y"}) {
    %a = graph.dispatch "map" @neg(%p = %x : tensor<5xf32>) {
      %r = graph.neg %p : (tensor<5xf32>) -> tensor<5xf32> loc("one")
      graph.yield %r : (tensor<5xf32>) -> ()
    } loc("one")
    %b = graph.dispatch "map" @neg(%p = %a : tensor<5xf32>) {
      %r = graph.neg %p : (tensor<5xf32>) -> tensor<5xf32> loc("two")
      graph.yield %r : (tensor<5xf32>) -> ()
    } loc("two")
    func.return %b : tensor<5xf32>
  }
}
