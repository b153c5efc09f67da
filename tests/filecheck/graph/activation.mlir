// RUN: penstock opt %s | filecheck %s

// Activation functions: every op reads back as it was written, parameters at their default left out.

func.func @sigmoid_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sigmoid %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sigmoid %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("sigmoid")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sigmoid_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.sigmoid %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.sigmoid %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("sigmoid")
  func.return %r0 : tensor<0xf16>
}
func.func @sigmoid_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.sigmoid %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.sigmoid %x0 : (tensor<f64>) -> tensor<f64> loc("sigmoid")
  func.return %r0 : tensor<f64>
}
func.func @sigmoid_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.sigmoid %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.sigmoid %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("sigmoid")
  func.return %r0 : tensor<5xbf16>
}
func.func @softplus_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.softplus %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.softplus %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("softplus")
  func.return %r0 : tensor<2x3xf32>
}
func.func @softplus_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.softplus %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.softplus %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("softplus")
  func.return %r0 : tensor<0xf16>
}
func.func @softplus_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.softplus %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.softplus %x0 : (tensor<f64>) -> tensor<f64> loc("softplus")
  func.return %r0 : tensor<f64>
}
func.func @softplus_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.softplus %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.softplus %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("softplus")
  func.return %r0 : tensor<5xbf16>
}
func.func @hard_swish_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.hard_swish %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.hard_swish %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("hard_swish")
  func.return %r0 : tensor<2x3xf32>
}
func.func @hard_swish_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.hard_swish %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.hard_swish %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("hard_swish")
  func.return %r0 : tensor<0xf16>
}
func.func @hard_swish_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.hard_swish %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.hard_swish %x0 : (tensor<f64>) -> tensor<f64> loc("hard_swish")
  func.return %r0 : tensor<f64>
}
func.func @hard_swish_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.hard_swish %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.hard_swish %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("hard_swish")
  func.return %r0 : tensor<5xbf16>
}
func.func @relu_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.relu %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.relu %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("relu")
  func.return %r0 : tensor<2x3xf32>
}
func.func @relu_1(%x0 : tensor<7xi8>) -> tensor<7xi8> {
  // CHECK: graph.relu %x0 : (tensor<7xi8>) -> tensor<7xi8>
  %r0 = graph.relu %x0 : (tensor<7xi8>) -> tensor<7xi8> loc("relu")
  func.return %r0 : tensor<7xi8>
}
func.func @relu_2(%x0 : tensor<7xi64>) -> tensor<7xi64> {
  // CHECK: graph.relu %x0 : (tensor<7xi64>) -> tensor<7xi64>
  %r0 = graph.relu %x0 : (tensor<7xi64>) -> tensor<7xi64> loc("relu")
  func.return %r0 : tensor<7xi64>
}
func.func @gelu_0(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.gelu %x0 : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.gelu %x0 : (tensor<4xf32>) -> tensor<4xf32> loc("gelu")
  func.return %r0 : tensor<4xf32>
}
func.func @gelu_1(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.gelu %x0 {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.gelu %x0 {approximate = "tanh"} : (tensor<4xf32>) -> tensor<4xf32> loc("gelu")
  func.return %r0 : tensor<4xf32>
}
func.func @leaky_relu_0(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.leaky_relu %x0 : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.leaky_relu %x0 : (tensor<4xf32>) -> tensor<4xf32> loc("leaky_relu")
  func.return %r0 : tensor<4xf32>
}
func.func @leaky_relu_1(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.leaky_relu %x0 {alpha = 0.2} : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.leaky_relu %x0 {alpha = 0.2} : (tensor<4xf32>) -> tensor<4xf32> loc("leaky_relu")
  func.return %r0 : tensor<4xf32>
}
func.func @elu_0(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.elu %x0 {alpha = 1.5} : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.elu %x0 {alpha = 1.5} : (tensor<4xf32>) -> tensor<4xf32> loc("elu")
  func.return %r0 : tensor<4xf32>
}
func.func @hard_sigmoid_0(%x0 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.hard_sigmoid %x0 {alpha = 0.3333333333333333, beta = 0.4} : (tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.hard_sigmoid %x0 {alpha = 0.3333333333333333, beta = 0.4} : (tensor<4xf32>) -> tensor<4xf32> loc("hard_sigmoid")
  func.return %r0 : tensor<4xf32>
}
