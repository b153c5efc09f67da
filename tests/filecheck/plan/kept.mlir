// RUN: penstock opt -p form-commands,assign-memory %s | filecheck %s

// A result that feeds an input is the memory of that input, which the session keeps; how many rows there are before and
// after a run is told by what appends them. Readers of the result read what has been written and what was kept.
// CHECK-LABEL: plan.program @main levels ["x86-64-v4"] symbols ["n:0..9"] length "n:0..9" grown "n:0..9 + 2" arena 0
// CHECK-NEXT: %x = plan.input {index = 0, called = "x"} : () -> memref<2x4xf32>
// CHECK-NEXT: %past = plan.input {index = 1, called = "past"} : () -> memref<9x4xf32>
// CHECK-NEXT: %[[Y:.*]] = plan.output {index = 0, called = "y"} : () -> memref<4xf32>
// CHECK-NEXT: %[[ALL:.*]] = plan.output {index = 1, called = "present", keeps = 1} : () -> memref<9x4xf32>
// CHECK-NEXT: %[[S:.*]] = plan.sizes
// CHECK-NEXT: plan.dispatch @append(%past : memref<9x4xf32>, %x : memref<2x4xf32>, %[[S]] : memref<1xi64>) -> (%[[ALL]] : memref<9x4xf32>)
// CHECK-NEXT: plan.dispatch @add(%[[ALL]] : memref<9x4xf32>, %[[S]] : memref<1xi64>) -> (%[[Y]] : memref<4xf32>)
builtin.module {
  func.func @main(%x : tensor<2x4xf32> {penstock.name = "x"}, %past : tensor<9x4xf32> {penstock.name = "past"})
      -> (tensor<4xf32> {penstock.name = "y"}, tensor<9x4xf32> {penstock.name = "present", penstock.state = "past"}) {
    %all = graph.dispatch "map" @append(%a = %past : tensor<9x4xf32>, %b = %x : tensor<2x4xf32>) {
      %0 = graph.append %a, %b {axis = 0, start = "n:0..9"} : (tensor<9x4xf32>, tensor<2x4xf32>) -> tensor<9x4xf32> loc("cat")
      graph.yield %0 : (tensor<9x4xf32>) -> ()
    } loc("cat")
    %y = graph.dispatch "reduction" @add(%c = %all : tensor<9x4xf32>) {
      %1 = graph.slice %c {starts = [0, 0], steps = [1, 1]} : (tensor<9x4xf32>) -> tensor<?x4xf32, ["n:0..9 + 2"]> loc("cat")
      %2 = graph.reduce %1 {kind = "sum", axes = [0]} : (tensor<?x4xf32, ["n:0..9 + 2"]>) -> tensor<4xf32> loc("sum")
      graph.yield %2 : (tensor<4xf32>) -> ()
    } loc("sum")
    func.return %y, %all : tensor<4xf32>, tensor<9x4xf32> loc("main")
  } loc("main")
  builtin.module @"x86-64-v4" {
    tile.kernel @append(%a: memref<36xf32>, %b: memref<8xf32>, %s: memref<1xi64>, %c: memref<36xf32>) units(%begin, %end of 2) attributes {outputs = 1 : i64, sizes = ["n"], unit_cost = 1.0 : f64} {
      tile.return : () -> ()
    }
    tile.kernel @add(%a: memref<36xf32>, %s: memref<1xi64>, %c: memref<4xf32>) units(%begin, %end of 1) attributes {outputs = 1 : i64, sizes = ["n"], unit_cost = 1.0 : f64} {
      tile.return : () -> ()
    }
  }
}
