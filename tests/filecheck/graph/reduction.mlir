// RUN: penstock opt %s | filecheck %s

// Reductions: every op reads back as it was written, parameters at their default left out.

func.func @reduce_0(%x0 : tensor<2x3xf32>) -> tensor<f32> {
  // CHECK: graph.reduce %x0 {kind = "sum", axes = [0, 1]} : (tensor<2x3xf32>) -> tensor<f32>
  %r0 = graph.reduce %x0 {kind = "sum", axes = [0, 1]} : (tensor<2x3xf32>) -> tensor<f32> loc("reduce")
  func.return %r0 : tensor<f32>
}
func.func @reduce_1(%x0 : tensor<2x3xi64>) -> tensor<2x1xi64> {
  // CHECK: graph.reduce %x0 {kind = "max", axes = [1], keepdims = true} : (tensor<2x3xi64>) -> tensor<2x1xi64>
  %r0 = graph.reduce %x0 {kind = "max", axes = [1], keepdims = true} : (tensor<2x3xi64>) -> tensor<2x1xi64> loc("reduce")
  func.return %r0 : tensor<2x1xi64>
}
func.func @reduce_2(%x0 : tensor<2x3xi1>) -> tensor<3xi1> {
  // CHECK: graph.reduce %x0 {kind = "and", axes = [0]} : (tensor<2x3xi1>) -> tensor<3xi1>
  %r0 = graph.reduce %x0 {kind = "and", axes = [0]} : (tensor<2x3xi1>) -> tensor<3xi1> loc("reduce")
  func.return %r0 : tensor<3xi1>
}
func.func @arg_reduce_0(%x0 : tensor<2x3xf32>) -> tensor<2xi64> {
  // CHECK: graph.arg_reduce %x0 {kind = "max", axis = 1} : (tensor<2x3xf32>) -> tensor<2xi64>
  %r0 = graph.arg_reduce %x0 {kind = "max", axis = 1} : (tensor<2x3xf32>) -> tensor<2xi64> loc("arg_reduce")
  func.return %r0 : tensor<2xi64>
}
func.func @arg_reduce_1(%x0 : tensor<3xi8>) -> tensor<1xi64> {
  // CHECK: graph.arg_reduce %x0 {kind = "min", axis = 0, keepdims = true, select_last = true} : (tensor<3xi8>) -> tensor<1xi64>
  %r0 = graph.arg_reduce %x0 {kind = "min", axis = 0, keepdims = true, select_last = true} : (tensor<3xi8>) -> tensor<1xi64> loc("arg_reduce")
  func.return %r0 : tensor<1xi64>
}
func.func @cumulative_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.cumulative %x0 {axis = 1} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.cumulative %x0 {axis = 1} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("cumulative")
  func.return %r0 : tensor<2x3xf32>
}
func.func @cumulative_1(%x0 : tensor<2x3xi64>) -> tensor<2x3xi64> {
  // CHECK: graph.cumulative %x0 {kind = "prod", axis = 0, exclusive = true, reverse = true} : (tensor<2x3xi64>) -> tensor<2x3xi64>
  %r0 = graph.cumulative %x0 {kind = "prod", axis = 0, exclusive = true, reverse = true} : (tensor<2x3xi64>) -> tensor<2x3xi64> loc("cumulative")
  func.return %r0 : tensor<2x3xi64>
}
