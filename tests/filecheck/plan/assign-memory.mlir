// RUN: penstock opt -p assign-memory %s | filecheck %s

// Three values of a chain: the first and the third are never alive together, so they share bytes.
// The largest is placed first.
// A view of a buffer keeps it alive.
// CHECK-LABEL: plan.program @chain levels ["x86-64-v3"] arena 1280
// CHECK: plan.buffer {offset = 768, lives = [0, 1]} : () -> memref<128xf32>
// CHECK: plan.buffer {offset = 0, lives = [1, 2]} : () -> memref<3x64xf32>
// CHECK: plan.buffer {offset = 768, lives = [2, 3]} : () -> memref<100xf32>
plan.program @chain levels ["x86-64-v3"] arena 0 {
  %x = plan.input {index = 0, called = "x"} : () -> memref<16xf32>
  %y = plan.output {index = 0, called = "y"} : () -> memref<100xf32>
  %a = plan.buffer : () -> memref<128xf32>
  plan.dispatch @first(%x : memref<16xf32>) -> (%a : memref<128xf32>) units [2] grain [1] flops 0 bytes 0
  %b = plan.buffer : () -> memref<3x64xf32>
  plan.dispatch @second(%a : memref<128xf32>) -> (%b : memref<3x64xf32>) units [2] grain [1] flops 0 bytes 0
  %part = plan.view %b {offset = 256} : (memref<3x64xf32>) -> memref<64xf32>
  %c = plan.buffer : () -> memref<100xf32>
  plan.dispatch @third(%part : memref<64xf32>) -> (%c : memref<100xf32>) units [2] grain [1] flops 0 bytes 0
  plan.copy %c, %y : (memref<100xf32>, memref<100xf32>) -> ()
}
