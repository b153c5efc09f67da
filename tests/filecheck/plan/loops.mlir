// RUN: penstock opt -p 'form-dispatches,lower{isa=x86-64-v3},form-commands' %s | filecheck %s
// RUN: penstock opt -p 'form-dispatches,lower{isa=x86-64-v3},plan' %s | penstock opt - | filecheck %s --check-prefix PLACED

// The first value is copied to where round 0 reads it. Rounds read one half of the state and write the other, rows are
// read and written in place, and the last value is copied to the output after the loop.
// CHECK: %[[STATE:.*]] = plan.buffer : () -> memref<2x4xf32>
// CHECK: %[[FIRST:.*]] = plan.view %[[STATE]] :
// CHECK: plan.copy %h, %[[FIRST]]
// CHECK: %[[NOW:.*]] = plan.part %[[STATE]] {loop = 0, step = 16, turns = 2, order = "now"}
// CHECK: %[[TO:.*]] = plan.part %[[STATE]] {loop = 0, step = 16, turns = 2, order = "next"}
// CHECK: plan.loop %n, %go, %{{.*}} {number = 0, limit = 1073741824}
// CHECK: %[[ROW:.*]] = plan.part %x {loop = 0, step = 16, turns = 5, order = "backward"}
// CHECK: %[[OUT:.*]] = plan.part %ys {loop = 0, step = 16, turns = 5}
// CHECK: plan.dispatch @a(%[[NOW]] : memref<4xf32>, %[[ROW]] : memref<4xf32>) -> (%[[TO]] : memref<4xf32>)
// CHECK: plan.copy %[[TO]], %[[OUT]]
// CHECK: plan.next %{{.*}}, %{{.*}} {number = 0}
// CHECK: plan.copy %[[NOW]], %y

// The state lives through the loop, and until its last value has been read.
// PLACED: plan.buffer {offset = 0, lives = [0, 5]} : () -> memref<2x4xf32>
builtin.module {
  func.func @main(%n : tensor<i64> {penstock.name = "n"}, %go : tensor<i1> {penstock.name = "go"},
      %h : tensor<4xf32> {penstock.name = "h"}, %x : tensor<5x4xf32> {penstock.name = "x"})
      -> (tensor<4xf32> {penstock.name = "y"}, tensor<5x4xf32> {penstock.name = "ys"}) {
    %y, %ys, %rounds = graph.loop %n, %go, %h, %x
        {carried = 1, scanned = 1, backward = [1, 0], count = 5, exact = true}
        : (tensor<i64>, tensor<i1>, tensor<4xf32>, tensor<5x4xf32>)
        -> (tensor<4xf32>, tensor<5x4xf32>, tensor<1xi64>) {
    ^bb0(%i : tensor<i64>, %s : tensor<4xf32>, %row : tensor<4xf32>):
      %t = graph.constant {value = dense<true> : tensor<i1>} : () -> tensor<i1> loc("t")
      %a = graph.add %s, %row : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("a")
      graph.next %t, %a, %a : (tensor<i1>, tensor<4xf32>, tensor<4xf32>) -> ()
    } loc("loop")
    func.return %y, %ys : tensor<4xf32>, tensor<5x4xf32>
  }
}
