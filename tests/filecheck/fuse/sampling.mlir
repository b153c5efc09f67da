// RUN: penstock opt -p form-dispatches %s | filecheck %s

// Sampling reads its first operand several times, so what computes that stays in a dispatch of its own; a view does not.

// CHECK: graph.dispatch "map" @gelu
// CHECK: graph.dispatch "map" @sample
// CHECK-NEXT: graph.reshape
// CHECK-NEXT: graph.sample
func.func @main(%x : tensor<2x12xf32>, %at : tensor<1x3x2xf32>) -> tensor<1x2x3xf32> {
  %0 = graph.gelu %x : (tensor<2x12xf32>) -> tensor<2x12xf32> loc("gelu")
  %1 = graph.reshape %0 : (tensor<2x12xf32>) -> tensor<1x2x3x4xf32> loc("view")
  %2 = graph.sample %1, %at : (tensor<1x2x3x4xf32>, tensor<1x3x2xf32>) -> tensor<1x2x3xf32> loc("sample")
  func.return %2 : tensor<1x2x3xf32>
}
