// RUN: penstock opt -p form-commands %s | filecheck %s
// RUN: penstock opt -p form-commands,assign-memory %s | penstock opt - | filecheck %s --check-prefix AGAIN

// What only one side of the select reads is left out unless that side is taken, through other dispatches too; the
// condition, and what both sides read, never is. The condition is computed before what it guards.
// CHECK: plan.dispatch @both({{.*}}) -> (%[[BOTH:.*]] : memref<4xf32>) units [1] grain {{.*}} bytes {{[0-9]+}} loc
// CHECK: plan.dispatch @condition({{.*}}) -> (%[[C:.*]] : memref<i1>) units [1] grain {{.*}} bytes {{[0-9]+}} loc
// CHECK: plan.dispatch @first(%[[BOTH]] : memref<4xf32>) -> (%[[F:.*]] : memref<4xf32>) {{.*}} when [%[[C]] : memref<i1>]
// CHECK: plan.dispatch @second(%[[F]] : memref<4xf32>) -> {{.*}} when [%[[C]] : memref<i1>]
// CHECK: plan.dispatch @other(%[[BOTH]] : memref<4xf32>) -> {{.*}} when [not %[[C]] : memref<i1>]
// CHECK: plan.dispatch @choice({{.*}} bytes {{[0-9]+}} loc

// AGAIN: plan.dispatch @second({{.*}} when [%{{.*}} : memref<i1>]
// AGAIN: plan.dispatch @other({{.*}} when [not %{{.*}} : memref<i1>]
builtin.module {
  func.func @main(%x : tensor<4xf32> {penstock.name = "x"}) -> (tensor<4xf32> {penstock.name = "y"}) {
    %both = graph.dispatch "map" @both(%a = %x : tensor<4xf32>) {
      %p = graph.abs %a : (tensor<4xf32>) -> tensor<4xf32> loc("both")
      graph.yield %p : (tensor<4xf32>) -> ()
    } loc("both")
    %first = graph.dispatch "map" @first(%a = %both : tensor<4xf32>) {
      %p = graph.exp %a : (tensor<4xf32>) -> tensor<4xf32> loc("first")
      graph.yield %p : (tensor<4xf32>) -> ()
    } loc("first")
    %second = graph.dispatch "map" @second(%a = %first : tensor<4xf32>) {
      %p = graph.exp %a : (tensor<4xf32>) -> tensor<4xf32> loc("second")
      graph.yield %p : (tensor<4xf32>) -> ()
    } loc("second")
    %other = graph.dispatch "map" @other(%a = %both : tensor<4xf32>) {
      %p = graph.neg %a : (tensor<4xf32>) -> tensor<4xf32> loc("other")
      graph.yield %p : (tensor<4xf32>) -> ()
    } loc("other")
    %condition = graph.dispatch "reduction" @condition(%a = %x : tensor<4xf32>) {
      %n = graph.is_nan %a : (tensor<4xf32>) -> tensor<4xi1> loc("condition")
      %c = graph.reduce %n {kind = "or", axes = [0], keepdims = false} : (tensor<4xi1>) -> tensor<i1> loc("condition")
      graph.yield %c : (tensor<i1>) -> ()
    } loc("condition")
    %y = graph.dispatch "map" @choice(%c = %condition : tensor<i1>, %a = %second : tensor<4xf32>, %b = %other : tensor<4xf32>) {
      %n = graph.neg %a : (tensor<4xf32>) -> tensor<4xf32> loc("choice")
      %p = graph.select %c, %n, %b : (tensor<i1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("choice")
      graph.yield %p : (tensor<4xf32>) -> ()
    } loc("choice")
    func.return %y : tensor<4xf32>
  }
  builtin.module @"x86-64-v3" {
    tile.kernel @both(%a: memref<4xf32>, %b: memref<4xf32>) units(%begin, %end of 1) { tile.return : () -> () }
    tile.kernel @first(%a: memref<4xf32>, %b: memref<4xf32>) units(%begin, %end of 1) { tile.return : () -> () }
    tile.kernel @second(%a: memref<4xf32>, %b: memref<4xf32>) units(%begin, %end of 1) { tile.return : () -> () }
    tile.kernel @other(%a: memref<4xf32>, %b: memref<4xf32>) units(%begin, %end of 1) { tile.return : () -> () }
    tile.kernel @condition(%a: memref<4xf32>, %b: memref<1xi8>) units(%begin, %end of 1) { tile.return : () -> () }
    tile.kernel @choice(%a: memref<1xi8>, %b: memref<4xf32>, %c: memref<4xf32>, %d: memref<4xf32>) units(%begin, %end of 1) { tile.return : () -> () }
  }
}
