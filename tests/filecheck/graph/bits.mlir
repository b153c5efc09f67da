// RUN: penstock opt %s | filecheck %s

// Operations on the bits of integers: every op reads back as it was written.

func.func @bit_not_0(%x0 : tensor<4xi8>) -> tensor<4xi8> {
  // CHECK: graph.bit_not %x0 : (tensor<4xi8>) -> tensor<4xi8>
  %r0 = graph.bit_not %x0 : (tensor<4xi8>) -> tensor<4xi8> loc("bit_not")
  func.return %r0 : tensor<4xi8>
}
func.func @bit_not_1(%x0 : tensor<2x3xui64>) -> tensor<2x3xui64> {
  // CHECK: graph.bit_not %x0 : (tensor<2x3xui64>) -> tensor<2x3xui64>
  %r0 = graph.bit_not %x0 : (tensor<2x3xui64>) -> tensor<2x3xui64> loc("bit_not")
  func.return %r0 : tensor<2x3xui64>
}
func.func @bit_cast_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xi32> {
  // CHECK: graph.bit_cast %x0 : (tensor<2x3xf32>) -> tensor<2x3xi32>
  %r0 = graph.bit_cast %x0 : (tensor<2x3xf32>) -> tensor<2x3xi32> loc("bit_cast")
  func.return %r0 : tensor<2x3xi32>
}
func.func @bit_cast_1(%x0 : tensor<4xui64>) -> tensor<4xf64> {
  // CHECK: graph.bit_cast %x0 : (tensor<4xui64>) -> tensor<4xf64>
  %r0 = graph.bit_cast %x0 : (tensor<4xui64>) -> tensor<4xf64> loc("bit_cast")
  func.return %r0 : tensor<4xf64>
}
func.func @bit_and_0(%x0 : tensor<2x3xi32>, %x1 : tensor<3xi32>) -> tensor<2x3xi32> {
  // CHECK: graph.bit_and %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32>
  %r0 = graph.bit_and %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32> loc("bit_and")
  func.return %r0 : tensor<2x3xi32>
}
func.func @bit_and_1(%x0 : tensor<4xui8>, %x1 : tensor<1xui8>) -> tensor<4xui8> {
  // CHECK: graph.bit_and %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8>
  %r0 = graph.bit_and %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8> loc("bit_and")
  func.return %r0 : tensor<4xui8>
}
func.func @bit_or_0(%x0 : tensor<2x3xi32>, %x1 : tensor<3xi32>) -> tensor<2x3xi32> {
  // CHECK: graph.bit_or %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32>
  %r0 = graph.bit_or %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32> loc("bit_or")
  func.return %r0 : tensor<2x3xi32>
}
func.func @bit_or_1(%x0 : tensor<4xui8>, %x1 : tensor<1xui8>) -> tensor<4xui8> {
  // CHECK: graph.bit_or %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8>
  %r0 = graph.bit_or %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8> loc("bit_or")
  func.return %r0 : tensor<4xui8>
}
func.func @bit_xor_0(%x0 : tensor<2x3xi32>, %x1 : tensor<3xi32>) -> tensor<2x3xi32> {
  // CHECK: graph.bit_xor %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32>
  %r0 = graph.bit_xor %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32> loc("bit_xor")
  func.return %r0 : tensor<2x3xi32>
}
func.func @bit_xor_1(%x0 : tensor<4xui8>, %x1 : tensor<1xui8>) -> tensor<4xui8> {
  // CHECK: graph.bit_xor %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8>
  %r0 = graph.bit_xor %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8> loc("bit_xor")
  func.return %r0 : tensor<4xui8>
}
func.func @shift_left_0(%x0 : tensor<2x3xi32>, %x1 : tensor<3xi32>) -> tensor<2x3xi32> {
  // CHECK: graph.shift_left %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32>
  %r0 = graph.shift_left %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32> loc("shift_left")
  func.return %r0 : tensor<2x3xi32>
}
func.func @shift_left_1(%x0 : tensor<4xui8>, %x1 : tensor<1xui8>) -> tensor<4xui8> {
  // CHECK: graph.shift_left %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8>
  %r0 = graph.shift_left %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8> loc("shift_left")
  func.return %r0 : tensor<4xui8>
}
func.func @shift_right_0(%x0 : tensor<2x3xi32>, %x1 : tensor<3xi32>) -> tensor<2x3xi32> {
  // CHECK: graph.shift_right %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32>
  %r0 = graph.shift_right %x0, %x1 : (tensor<2x3xi32>, tensor<3xi32>) -> tensor<2x3xi32> loc("shift_right")
  func.return %r0 : tensor<2x3xi32>
}
func.func @shift_right_1(%x0 : tensor<4xui8>, %x1 : tensor<1xui8>) -> tensor<4xui8> {
  // CHECK: graph.shift_right %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8>
  %r0 = graph.shift_right %x0, %x1 : (tensor<4xui8>, tensor<1xui8>) -> tensor<4xui8> loc("shift_right")
  func.return %r0 : tensor<4xui8>
}
