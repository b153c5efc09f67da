// RUN: penstock opt %s | filecheck %s
// RUN: penstock opt -p 'canonicalise,fold-constants,cse,dce,pack-weights' %s | filecheck %s --check-prefix CLEAN
// RUN: penstock opt -p 'form-dispatches,share-kernels' %s | filecheck %s --check-prefix FUSED

// The body is isolated: what it reads are its arguments. Carried value, scanned rows from the end, a captured value.
// CHECK: graph.loop %n, %go, %h, %x, %w {count = 5, carried = 1, scanned = 1, backward = [1, 0], exact = true} :
// CHECK: ^bb0(%i: tensor<i64>, %s: tensor<2x4xf32>, %row: tensor<2x4xf32>, %v: tensor<4x4xf32>):
// CHECK: graph.next %{{.*}}, %{{.*}}, %{{.*}} : (tensor<i1>, tensor<2x4xf32>, tensor<2x4xf32>) -> ()

// Passes work in the body as anywhere: equal ops are one, x + 0 is x.
// CLEAN: graph.loop
// CLEAN-COUNT-1: graph.tanh
// CLEAN-NOT: graph.add %{{.*}}, %zero
// CLEAN: graph.next

// The body is grouped as a function is; what a loop and its rounds read of constants needs no kernel.
// FUSED: graph.loop %n, %go
// FUSED: %{{.*}} = graph.constant {value = dense<true>
// FUSED: graph.dispatch "contraction" @m(
// FUSED: graph.tanh
// FUSED: graph.next %t, %
builtin.module {
  func.func @main(%n : tensor<i64> {penstock.name = "n"}, %go : tensor<i1> {penstock.name = "go"},
      %h : tensor<2x4xf32> {penstock.name = "h"}, %x : tensor<5x2x4xf32> {penstock.name = "x"},
      %w : tensor<4x4xf32> {penstock.name = "w"})
      -> (tensor<2x4xf32> {penstock.name = "y"}, tensor<5x2x4xf32> {penstock.name = "ys"}) {
    %y, %ys, %rounds = graph.loop %n, %go, %h, %x, %w
        {carried = 1, scanned = 1, backward = [1, 0], count = 5, exact = true}
        : (tensor<i64>, tensor<i1>, tensor<2x4xf32>, tensor<5x2x4xf32>, tensor<4x4xf32>)
        -> (tensor<2x4xf32>, tensor<5x2x4xf32>, tensor<1xi64>) {
    ^bb0(%i : tensor<i64>, %s : tensor<2x4xf32>, %row : tensor<2x4xf32>, %v : tensor<4x4xf32>):
      %t = graph.constant {value = dense<true> : tensor<i1>} : () -> tensor<i1> loc("t")
      %zero = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
      %a = graph.matmul %s, %v : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32> loc("m")
      %b = graph.sub %a, %row : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32> loc("s")
      %c = graph.sub %b, %zero : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xf32> loc("o")
      %d = graph.tanh %c : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("d")
      %e = graph.tanh %c : (tensor<2x4xf32>) -> tensor<2x4xf32> loc("e")
      graph.next %t, %d, %e : (tensor<i1>, tensor<2x4xf32>, tensor<2x4xf32>) -> ()
    } loc("loop")
    func.return %y, %ys : tensor<2x4xf32>, tensor<5x2x4xf32>
  }
}
