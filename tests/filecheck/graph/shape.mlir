// RUN: penstock opt %s | filecheck %s

// Shape: every op reads back as it was written, parameters at their default left out.

func.func @reshape_0(%x0 : tensor<2x3xf32>) -> tensor<6xf32> {
  // CHECK: graph.reshape %x0 : (tensor<2x3xf32>) -> tensor<6xf32>
  %r0 = graph.reshape %x0 : (tensor<2x3xf32>) -> tensor<6xf32> loc("reshape")
  func.return %r0 : tensor<6xf32>
}
func.func @reshape_1(%x0 : tensor<1xf32>) -> tensor<f32> {
  // CHECK: graph.reshape %x0 : (tensor<1xf32>) -> tensor<f32>
  %r0 = graph.reshape %x0 : (tensor<1xf32>) -> tensor<f32> loc("reshape")
  func.return %r0 : tensor<f32>
}
func.func @reshape_2(%x0 : tensor<0x3xf32>) -> tensor<0xf32> {
  // CHECK: graph.reshape %x0 : (tensor<0x3xf32>) -> tensor<0xf32>
  %r0 = graph.reshape %x0 : (tensor<0x3xf32>) -> tensor<0xf32> loc("reshape")
  func.return %r0 : tensor<0xf32>
}
func.func @transpose_0(%x0 : tensor<2x3x4xf32>) -> tensor<4x2x3xf32> {
  // CHECK: graph.transpose %x0 {permutation = [2, 0, 1]} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %r0 = graph.transpose %x0 {permutation = [2, 0, 1]} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32> loc("transpose")
  func.return %r0 : tensor<4x2x3xf32>
}
func.func @transpose_1(%x0 : tensor<f32>) -> tensor<f32> {
  // CHECK: graph.transpose %x0 {permutation = []} : (tensor<f32>) -> tensor<f32>
  %r0 = graph.transpose %x0 {permutation = []} : (tensor<f32>) -> tensor<f32> loc("transpose")
  func.return %r0 : tensor<f32>
}
func.func @expand_0(%x0 : tensor<3x1xf32>) -> tensor<2x3x4xf32> {
  // CHECK: graph.expand %x0 : (tensor<3x1xf32>) -> tensor<2x3x4xf32>
  %r0 = graph.expand %x0 : (tensor<3x1xf32>) -> tensor<2x3x4xf32> loc("expand")
  func.return %r0 : tensor<2x3x4xf32>
}
func.func @slice_0(%x0 : tensor<5x6xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.slice %x0 {starts = [1, 5], steps = [2, -2]} : (tensor<5x6xf32>) -> tensor<2x3xf32>
  %r0 = graph.slice %x0 {starts = [1, 5], steps = [2, -2]} : (tensor<5x6xf32>) -> tensor<2x3xf32> loc("slice")
  func.return %r0 : tensor<2x3xf32>
}
func.func @slice_1(%x0 : tensor<4xi1>) -> tensor<0xi1> {
  // CHECK: graph.slice %x0 {starts = [4], steps = [1]} : (tensor<4xi1>) -> tensor<0xi1>
  %r0 = graph.slice %x0 {starts = [4], steps = [1]} : (tensor<4xi1>) -> tensor<0xi1> loc("slice")
  func.return %r0 : tensor<0xi1>
}
func.func @concat_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.concat %x0 {axis = 0} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.concat %x0 {axis = 0} : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("concat")
  func.return %r0 : tensor<2x3xf32>
}
func.func @concat_1(%x0 : tensor<2x3xf32>, %x1 : tensor<2x1xf32>, %x2 : tensor<2x0xf32>) -> tensor<2x4xf32> {
  // CHECK: graph.concat %x0, %x1, %x2 {axis = 1} : (tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x0xf32>) -> tensor<2x4xf32>
  %r0 = graph.concat %x0, %x1, %x2 {axis = 1} : (tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x0xf32>) -> tensor<2x4xf32> loc("concat")
  func.return %r0 : tensor<2x4xf32>
}
func.func @append_0(%x0 : tensor<2x5xf32>, %x1 : tensor<2x3xf32>) -> tensor<2x5xf32> {
  // CHECK: graph.append %x0, %x1 {axis = 1, start = 2} : (tensor<2x5xf32>, tensor<2x3xf32>) -> tensor<2x5xf32>
  %r0 = graph.append %x0, %x1 {axis = 1, start = 2} : (tensor<2x5xf32>, tensor<2x3xf32>) -> tensor<2x5xf32> loc("append")
  func.return %r0 : tensor<2x5xf32>
}
func.func @pad_0(%x0 : tensor<2x3xf32>, %x1 : tensor<f32>) -> tensor<4x4xf32> {
  // CHECK: graph.pad %x0, %x1 {low = [0, 1], high = [2, 0]} : (tensor<2x3xf32>, tensor<f32>) -> tensor<4x4xf32>
  %r0 = graph.pad %x0, %x1 {low = [0, 1], high = [2, 0]} : (tensor<2x3xf32>, tensor<f32>) -> tensor<4x4xf32> loc("pad")
  func.return %r0 : tensor<4x4xf32>
}
func.func @pad_1(%x0 : tensor<2x3xf32>) -> tensor<3x6xf32> {
  // CHECK: graph.pad %x0 {low = [1, 1], high = [0, 2], mode = "reflect"} : (tensor<2x3xf32>) -> tensor<3x6xf32>
  %r0 = graph.pad %x0 {low = [1, 1], high = [0, 2], mode = "reflect"} : (tensor<2x3xf32>) -> tensor<3x6xf32> loc("pad")
  func.return %r0 : tensor<3x6xf32>
}
func.func @pad_2(%x0 : tensor<2x3xi64>) -> tensor<3x6xi64> {
  // CHECK: graph.pad %x0 {low = [1, 1], high = [0, 2], mode = "edge"} : (tensor<2x3xi64>) -> tensor<3x6xi64>
  %r0 = graph.pad %x0 {low = [1, 1], high = [0, 2], mode = "edge"} : (tensor<2x3xi64>) -> tensor<3x6xi64> loc("pad")
  func.return %r0 : tensor<3x6xi64>
}
func.func @iota_0() -> tensor<3x4xi64> {
  // CHECK: graph.iota {axis = 1} : () -> tensor<3x4xi64>
  %r0 = graph.iota {axis = 1} : () -> tensor<3x4xi64> loc("iota")
  func.return %r0 : tensor<3x4xi64>
}
func.func @iota_1() -> tensor<3xf32> {
  // CHECK: graph.iota : () -> tensor<3xf32>
  %r0 = graph.iota : () -> tensor<3xf32> loc("iota")
  func.return %r0 : tensor<3xf32>
}
