// RUN: penstock opt -p form-commands %s | filecheck %s
// RUN: penstock opt -p form-commands,assign-memory %s | filecheck %s --check-prefix MEMORY

// The symbols are those of the inputs in the order in which they appear, then others by name; what the sizes of a run
// must make equal is listed. A kernel that computes with sizes reads them from one place, before its outputs; kernels
// with the same symbols share it. Extents stand wherever numbers do.
// CHECK-LABEL: plan.program @main levels ["x86-64-v4", "x86-64-v3"] symbols ["seq", "batch:1..64", "past"] equal ["2*seq = past"] arena 0
// CHECK-NEXT: %x = plan.input {index = 0, called = "x"} : () -> memref<?x4xf32, ["seq"]>
// CHECK-NEXT: %b = plan.input {index = 1, called = "b"} : () -> memref<?x?xf32, ["batch:1..64", "seq + 1"]>
// CHECK-NEXT: %[[Y:.*]] = plan.output {index = 0, called = "y"} : () -> memref<?xf32, ["4*seq"]>
// CHECK-NEXT: %[[Z:.*]] = plan.output {index = 1, called = "z"} : () -> memref<?xf32, ["past"]>
// CHECK-NEXT: %[[H:.*]] = plan.buffer : () -> memref<?x4xf32, ["seq"]>
// CHECK-NEXT: %[[SIZES:.*]] = plan.sizes {symbols = ["batch", "seq"]} : () -> memref<2xi64>
// CHECK-NEXT: plan.dispatch @scale(%x : memref<?x4xf32, ["seq"]>, %[[SIZES]] : memref<2xi64>) -> (%[[H]] : memref<?x4xf32, ["seq"]>) units ["seq", "seq floordiv 2"] grain [29, 1] flops "4*seq" bytes "32*seq"
// CHECK-NEXT: %[[V:.*]] = plan.view %[[Y]] : (memref<?xf32, ["4*seq"]>) -> memref<?x4xf32, ["seq"]>
// CHECK-NEXT: plan.dispatch @scale(%[[H]] : memref<?x4xf32, ["seq"]>, %[[SIZES]] : memref<2xi64>) -> (%[[V]] : memref<?x4xf32, ["seq"]>)
// CHECK-NEXT: plan.view %[[V]] : (memref<?x4xf32, ["seq"]>) -> memref<?xf32, ["4*seq"]>
// CHECK-NEXT: %[[ONE:.*]] = plan.sizes {symbols = ["past"]} : () -> memref<1xi64>
// CHECK-NEXT: plan.dispatch @fill(%[[ONE]] : memref<1xi64>) -> (%[[Z]] : memref<?xf32, ["past"]>)

// Buffers of symbolic size get their lifetimes; the runtime places them. The arena is a bound: the sum of all, each
// rounded up unless it is a multiple of 64 bytes.
// MEMORY: plan.program @main {{.*}} arena "16*seq + 64"
// MEMORY: plan.buffer {lives = [0, 1]} : () -> memref<?x4xf32, ["seq"]>
builtin.module attributes {penstock.equal = [["2*seq", "past"]]} {
  func.func @main(%x : tensor<?x4xf32, ["seq"]> {penstock.name = "x"},
                  %b : tensor<?x?xf32, ["batch:1..64", "seq + 1"]> {penstock.name = "b"})
      -> (tensor<?xf32, ["4*seq"]> {penstock.name = "y"}, tensor<?xf32, ["past"]> {penstock.name = "z"}) {
    %h = graph.dispatch "map" @scale(%a = %x : tensor<?x4xf32, ["seq"]>) {
      %p = graph.neg %a : (tensor<?x4xf32, ["seq"]>) -> tensor<?x4xf32, ["seq"]> loc("neg")
      graph.yield %p : (tensor<?x4xf32, ["seq"]>) -> ()
    } loc("neg")
    %g = graph.dispatch "map" @scale(%a = %h : tensor<?x4xf32, ["seq"]>) {
      %p = graph.neg %a : (tensor<?x4xf32, ["seq"]>) -> tensor<?x4xf32, ["seq"]> loc("again")
      graph.yield %p : (tensor<?x4xf32, ["seq"]>) -> ()
    } loc("again")
    %y = graph.reshape %g : (tensor<?x4xf32, ["seq"]>) -> tensor<?xf32, ["4*seq"]> loc("flat")
    %z = graph.dispatch "map" @fill() {
      %p = graph.iota {axis = 0} : () -> tensor<?xf32, ["past"]> loc("iota")
      graph.yield %p : (tensor<?xf32, ["past"]>) -> ()
    } loc("iota")
    %k = graph.reshape %z : (tensor<?xf32, ["past"]>) -> tensor<?xf32, ["past"]> loc("same")
    func.return %y, %k : tensor<?xf32, ["4*seq"]>, tensor<?xf32, ["past"]>
  }
  builtin.module @"x86-64-v4" {
    tile.kernel @scale(%a: memref<?xf32, ["4*seq"]>, %s: memref<2xi64>, %c: memref<?xf32, ["4*seq"]>) units(%begin, %end of "seq") attributes {outputs = 1 : i64, sizes = ["batch", "seq"], unit_cost = 100.0 : f64} {
      tile.return : () -> ()
    }
    tile.kernel @fill(%s: memref<1xi64>, %c: memref<?xf32, ["past"]>) units(%begin, %end of "past") attributes {outputs = 1 : i64, sizes = ["past"], unit_cost = 1.0 : f64} {
      tile.return : () -> ()
    }
  }
  builtin.module @"x86-64-v3" {
    tile.kernel @scale(%a: memref<?xf32, ["4*seq"]>, %s: memref<2xi64>, %c: memref<?xf32, ["4*seq"]>) units(%begin, %end of "seq floordiv 2") attributes {outputs = 1 : i64, sizes = ["batch", "seq"], unit_cost = 9000.0 : f64} {
      tile.return : () -> ()
    }
    tile.kernel @fill(%s: memref<1xi64>, %c: memref<?xf32, ["past"]>) units(%begin, %end of "past") attributes {outputs = 1 : i64, sizes = ["past"], unit_cost = 1.0 : f64} {
      tile.return : () -> ()
    }
  }
}
