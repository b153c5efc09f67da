// RUN: penstock opt %s | filecheck %s

// Resizing: every op reads back as it was written, parameters at their default left out.

func.func @resize_0(%x0 : tensor<1x2x4x4xf32>) -> tensor<1x2x8x6xf32> {
  // CHECK: graph.resize %x0 {mode = "linear", scales = [1.000000e+00 : f64, 1.000000e+00 : f64, 2.000000e+00 : f64, 1.500000e+00 : f64]} : (tensor<1x2x4x4xf32>) -> tensor<1x2x8x6xf32>
  %r0 = graph.resize %x0 {mode = "linear", scales = [1.000000e+00 : f64, 1.000000e+00 : f64, 2.000000e+00 : f64, 1.500000e+00 : f64]} : (tensor<1x2x4x4xf32>) -> tensor<1x2x8x6xf32> loc("resize")
  func.return %r0 : tensor<1x2x8x6xf32>
}
func.func @resize_1(%x0 : tensor<4xui8>) -> tensor<3xui8> {
  // CHECK: graph.resize %x0 {mode = "nearest", scales = [7.500000e-01 : f64], nearest_mode = "floor"} : (tensor<4xui8>) -> tensor<3xui8>
  %r0 = graph.resize %x0 {mode = "nearest", scales = [7.500000e-01 : f64], nearest_mode = "floor"} : (tensor<4xui8>) -> tensor<3xui8> loc("resize")
  func.return %r0 : tensor<3xui8>
}
func.func @resize_2(%x0 : tensor<4xui8>) -> tensor<3xui8> {
  // CHECK: graph.resize %x0 {mode = "nearest", scales = [7.500000e-01 : f64], coordinate_mode = "asymmetric"} : (tensor<4xui8>) -> tensor<3xui8>
  %r0 = graph.resize %x0 {mode = "nearest", scales = [7.500000e-01 : f64], coordinate_mode = "asymmetric"} : (tensor<4xui8>) -> tensor<3xui8> loc("resize")
  func.return %r0 : tensor<3xui8>
}
