// RUN: penstock opt -p form-commands,assign-memory %s | filecheck %s

// Counted symbols come last, with the most that each can be; a bind follows the kernel that counts, whose results need no
// sizes. The arena is for the most there can be.
// CHECK-LABEL: plan.program @main levels ["x86-64-v4"] symbols ["batch", "found:0..64"] counted ["4*batch"] arena "64*batch + 64"
// CHECK: %[[AT:.*]] = plan.buffer {lives = [0, 2]} : () -> memref<2x?xi64, ["found:0..64"]>
// CHECK: %[[COUNT:.*]] = plan.buffer {lives = [0, 1]} : () -> memref<1xi64>
// CHECK: plan.dispatch @find(
// CHECK: plan.bind %[[COUNT]] {extent = "found:0..64"} : (memref<1xi64>) -> ()
// CHECK: %[[SIZES:.*]] = plan.sizes {symbols = ["found"]} : () -> memref<1xi64>
// CHECK: plan.dispatch @next(%[[AT]] : memref<2x?xi64, ["found:0..64"]>, %[[SIZES]] : memref<1xi64>)
builtin.module {
  func.func @main(%x : tensor<4x?xf32, ["batch"]> {penstock.name = "x"}) -> (tensor<2x?xi64, ["found:0..64"]> {penstock.name = "y"}) {
    %at, %count = graph.dispatch "counting" @find(%a = %x : tensor<4x?xf32, ["batch"]>) {
      %p, %n = graph.non_zero %a {count = "found:0..64"} : (tensor<4x?xf32, ["batch"]>) -> (tensor<2x?xi64, ["found:0..64"]>, tensor<1xi64>) loc("find")
      graph.yield %p, %n : (tensor<2x?xi64, ["found:0..64"]>, tensor<1xi64>) -> ()
    } loc("find")
    %y = graph.dispatch "map" @next(%a = %at : tensor<2x?xi64, ["found:0..64"]>) {
      %p = graph.neg %a : (tensor<2x?xi64, ["found:0..64"]>) -> tensor<2x?xi64, ["found:0..64"]> loc("next")
      graph.yield %p : (tensor<2x?xi64, ["found:0..64"]>) -> ()
    } loc("next")
    func.return %y : tensor<2x?xi64, ["found:0..64"]>
  }
  builtin.module @"x86-64-v4" {
    tile.kernel @find(%a: memref<?xf32, ["4*batch"]>, %s: memref<1xi64>, %c: memref<?xi64, ["8*batch"]>, %n: memref<1xi64>) units(%begin, %end of 1) attributes {outputs = 2 : i64, sizes = ["batch"], unit_cost = 100.0 : f64} {
      tile.return : () -> ()
    }
    tile.kernel @next(%a: memref<?xi64, ["2*found:0..64"]>, %s: memref<1xi64>, %c: memref<?xi64, ["2*found:0..64"]>) units(%begin, %end of 1) attributes {outputs = 1 : i64, sizes = ["found"], unit_cost = 100.0 : f64} {
      tile.return : () -> ()
    }
  }
}
