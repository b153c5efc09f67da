// RUN: penstock opt %s | penstock opt - | filecheck %s

// A kernel whose units run in phases says so for each level, since it may do so at one level and not at another.
// CHECK: plan.dispatch @recurrence(%{{.*}} : memref<8xf32>) -> (%{{.*}} : memref<8xf32>) units [4, 1] grain [2, 1] team [1, 0] flops 8 bytes 64
// CHECK: plan.dispatch @plain(%{{.*}} : memref<8xf32>) -> (%{{.*}} : memref<8xf32>) units [8, 8] grain [1, 1] flops 8 bytes 64
plan.program @main levels ["x86-64-v4", "x86-64-v3"] arena 64 {
  %x = plan.input {index = 0, called = "x"} : () -> memref<8xf32>
  %y = plan.output {index = 0, called = "y"} : () -> memref<8xf32>
  %h = plan.buffer {offset = 0, lives = [0, 1]} : () -> memref<8xf32>
  plan.dispatch @recurrence(%x : memref<8xf32>) -> (%h : memref<8xf32>) units [4, 1] grain [2, 1] team [1, 0] flops 8 bytes 64
  plan.dispatch @plain(%h : memref<8xf32>) -> (%y : memref<8xf32>) units [8, 8] grain [1, 1] flops 8 bytes 64
}
