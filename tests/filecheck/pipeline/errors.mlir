// Each part is run by itself; its error stands where its result would.
// RUN: not penstock opt --split-input-file %s | filecheck %s

// CHECK: error: {{.*}}errors.mlir:5:46: type expected. [PENS-I001]
func.func @unfinished(%x : tensor<4xf32>) -> ten
// -----

// CHECK: error: {{.*}}it uses a value that is defined after it: %a = graph.neg{{.*}}, in @late, from {{.*}}:11'. [PENS-I002]
// CHECK-NOT: Traceback
func.func @late(%x : tensor<4xf32>) -> tensor<4xf32> {
  %a = graph.neg %b : (tensor<4xf32>) -> tensor<4xf32>
  %b = graph.neg %x : (tensor<4xf32>) -> tensor<4xf32>
  func.return %b : tensor<4xf32>
}
// -----

// CHECK: error: {{.*}}graph.neg must have result types tensor<4xf32>, but has tensor<5xf32>{{.*}}. [PENS-I002]
func.func @types(%x : tensor<4xf32>) -> tensor<5xf32> {
  %a = graph.neg %x : (tensor<4xf32>) -> tensor<5xf32>
  func.return %a : tensor<5xf32>
}
// -----

// What follows is still run.
// CHECK: func.func @fine
func.func @fine(%x : tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}
