// RUN: penstock opt -p form-commands %s | filecheck %s
// RUN: penstock opt -p form-commands,assign-memory %s | filecheck %s --check-prefix MEMORY

// A dispatch becomes a command with the units of each level; its result, which is returned in another shape, is
// computed straight into the output. The input that is returned too is copied. Equal weights are one.
// CHECK-LABEL: plan.program @main levels ["x86-64-v4", "x86-64-v3"] arena 0
// CHECK-NEXT: %x = plan.input {index = 0, called = "pixels"} : () -> memref<2x4xf32>
// CHECK-NEXT: %[[Y:.*]] = plan.output {index = 0, called = "scores"} : () -> memref<8xf32>
// CHECK-NEXT: %[[Z:.*]] = plan.output {index = 1, called = "same"} : () -> memref<2x4xf32>
// CHECK-NEXT: %[[W:.*]] = plan.weight {key = "constant#{{[0-9a-f]+}}"} : () -> memref<4xf32>
// CHECK-NEXT: %[[H:.*]] = plan.buffer : () -> memref<2x4xf32>
// CHECK-NEXT: plan.dispatch @scale(%x : memref<2x4xf32>, %[[W]] : memref<4xf32>) -> (%[[H]] : memref<2x4xf32>) units [1, 2] grain [29, 1] flops 8 bytes 80
// CHECK-NEXT: %[[V:.*]] = plan.view %[[Y]] : (memref<8xf32>) -> memref<2x4xf32>
// CHECK-NEXT: plan.dispatch @scale(%[[H]] : memref<2x4xf32>, %[[W]] : memref<4xf32>) -> (%[[V]] : memref<2x4xf32>) units [1, 2]
// CHECK-NEXT: plan.view %[[V]] : (memref<2x4xf32>) -> memref<8xf32>
// CHECK-NEXT: plan.copy %x, %[[Z]]
// CHECK-NOT: func.func

// A check ends the run unless its boolean is true; what it guards is a view of the same memory, which those read who
// rely on it. Outputs that do are named.
// CHECK-LABEL: plan.program @guarded
// CHECK: %x = plan.input {index = 0, called = "x"}
// CHECK-NEXT: %[[OK:.*]] = plan.input {index = 1, called = "ok"} : () -> memref<i1>
// CHECK-NEXT: %[[Y:.*]] = plan.output
// CHECK-NEXT: %[[V:.*]] = plan.view %x
// CHECK-NEXT: plan.check %[[OK]], %[[V]] {message = "node 'r': it is not", outputs = [0]}
// CHECK-NEXT: plan.copy %[[V]], %[[Y]]

// MEMORY: plan.program @main levels ["x86-64-v4", "x86-64-v3"] arena 64
// MEMORY: plan.weight {key = "constant#{{[0-9a-f]+}}", offset = 0}
// MEMORY: plan.buffer {offset = 0, lives = [0, 1]}
builtin.module {
  func.func @main(%x : tensor<2x4xf32> {penstock.name = "pixels"})
      -> (tensor<8xf32> {penstock.name = "scores"}, tensor<2x4xf32> {penstock.name = "same"}) {
    %w = graph.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32> loc("w")
    %v = graph.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32> loc("v")
    %h = graph.dispatch "map" @scale(%a = %x : tensor<2x4xf32>, %b = %w : tensor<4xf32>) {
      %p = graph.mul %a, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("mul")
      graph.yield %p : (tensor<2x4xf32>) -> ()
    } loc("mul")
    %g = graph.dispatch "map" @scale(%a = %h : tensor<2x4xf32>, %b = %v : tensor<4xf32>) {
      %p = graph.mul %a, %b : (tensor<2x4xf32>, tensor<4xf32>) -> tensor<2x4xf32> loc("again")
      graph.yield %p : (tensor<2x4xf32>) -> ()
    } loc("again")
    %y = graph.reshape %g : (tensor<2x4xf32>) -> tensor<8xf32> loc("flat")
    func.return %y, %x : tensor<8xf32>, tensor<2x4xf32>
  }
  func.func @guarded(%x : tensor<4xf32> {penstock.name = "x"}, %ok : tensor<i1> {penstock.name = "ok"})
      -> (tensor<4xf32> {penstock.name = "y"}) {
    %y = graph.checked %x, %ok {message = "node 'r': it is not"} : (tensor<4xf32>, tensor<i1>) -> tensor<4xf32> loc("r")
    func.return %y : tensor<4xf32>
  }
  builtin.module @"x86-64-v4" {
    tile.kernel @scale(%a: memref<8xf32>, %b: memref<4xf32>, %c: memref<8xf32>) units(%begin, %end of 1) attributes {outputs = 1 : i64, unit_cost = 100.0 : f64} {
      tile.return : () -> ()
    }
  }
  builtin.module @"x86-64-v3" {
    tile.kernel @scale(%a: memref<8xf32>, %b: memref<4xf32>, %c: memref<8xf32>) units(%begin, %end of 2) attributes {outputs = 1 : i64, unit_cost = 9000.0 : f64} {
      tile.return : () -> ()
    }
  }
}
