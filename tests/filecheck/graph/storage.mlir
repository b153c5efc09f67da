// RUN: penstock opt %s | filecheck %s

// Types that are only stored: casts to and from them, and views of them.

func.func @cast_3(%x0 : tensor<4xf32>) -> tensor<4x!graph.float<"f8e4m3fn">> {
  // CHECK: graph.cast %x0 {saturate = false} : (tensor<4xf32>) -> tensor<4x!graph.float<"f8e4m3fn">>
  %r0 = graph.cast %x0 {saturate = false} : (tensor<4xf32>) -> tensor<4x!graph.float<"f8e4m3fn">> loc("cast")
  func.return %r0 : tensor<4x!graph.float<"f8e4m3fn">>
}
func.func @cast_4(%x0 : tensor<4xf16>) -> tensor<4x!graph.float<"f8e8m0">> {
  // CHECK: graph.cast %x0 {rounding = "down"} : (tensor<4xf16>) -> tensor<4x!graph.float<"f8e8m0">>
  %r0 = graph.cast %x0 {rounding = "down"} : (tensor<4xf16>) -> tensor<4x!graph.float<"f8e8m0">> loc("cast")
  func.return %r0 : tensor<4x!graph.float<"f8e8m0">>
}
func.func @cast_5(%x0 : tensor<2x3xi4>) -> tensor<2x3xf32> {
  // CHECK: graph.cast %x0 : (tensor<2x3xi4>) -> tensor<2x3xf32>
  %r0 = graph.cast %x0 : (tensor<2x3xi4>) -> tensor<2x3xf32> loc("cast")
  func.return %r0 : tensor<2x3xf32>
}
func.func @cast_6(%x0 : tensor<3x!graph.float<"f4e2m1">>) -> tensor<3xui2> {
  // CHECK: graph.cast %x0 : (tensor<3x!graph.float<"f4e2m1">>) -> tensor<3xui2>
  %r0 = graph.cast %x0 : (tensor<3x!graph.float<"f4e2m1">>) -> tensor<3xui2> loc("cast")
  func.return %r0 : tensor<3xui2>
}
func.func @moved(%x0 : tensor<2x3x!graph.float<"f8e5m2">>) -> tensor<3x2x!graph.float<"f8e5m2">> {
  // CHECK: graph.transpose %x0 {permutation = [1, 0]} : (tensor<2x3x!graph.float<"f8e5m2">>) -> tensor<3x2x!graph.float<"f8e5m2">>
  %r0 = graph.transpose %x0 {permutation = [1, 0]} : (tensor<2x3x!graph.float<"f8e5m2">>) -> tensor<3x2x!graph.float<"f8e5m2">> loc("moved")
  func.return %r0 : tensor<3x2x!graph.float<"f8e5m2">>
}
