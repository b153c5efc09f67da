// RUN: penstock opt %s | filecheck %s

// Trigonometric and hyperbolic functions: every op reads back as it was written.

func.func @tan_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.tan %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.tan %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("tan")
  func.return %r0 : tensor<2x3xf32>
}
func.func @tan_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.tan %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.tan %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("tan")
  func.return %r0 : tensor<5xbf16>
}
func.func @asin_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.asin %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.asin %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("asin")
  func.return %r0 : tensor<2x3xf32>
}
func.func @asin_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.asin %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.asin %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("asin")
  func.return %r0 : tensor<5xbf16>
}
func.func @acos_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.acos %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.acos %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("acos")
  func.return %r0 : tensor<2x3xf32>
}
func.func @acos_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.acos %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.acos %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("acos")
  func.return %r0 : tensor<5xbf16>
}
func.func @atan_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.atan %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.atan %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("atan")
  func.return %r0 : tensor<2x3xf32>
}
func.func @atan_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.atan %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.atan %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("atan")
  func.return %r0 : tensor<5xbf16>
}
func.func @sinh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sinh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sinh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("sinh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sinh_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.sinh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.sinh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("sinh")
  func.return %r0 : tensor<5xbf16>
}
func.func @cosh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.cosh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.cosh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("cosh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @cosh_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.cosh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.cosh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("cosh")
  func.return %r0 : tensor<5xbf16>
}
func.func @asinh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.asinh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.asinh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("asinh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @asinh_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.asinh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.asinh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("asinh")
  func.return %r0 : tensor<5xbf16>
}
func.func @acosh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.acosh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.acosh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("acosh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @acosh_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.acosh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.acosh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("acosh")
  func.return %r0 : tensor<5xbf16>
}
func.func @atanh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.atanh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.atanh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("atanh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @atanh_1(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.atanh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.atanh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("atanh")
  func.return %r0 : tensor<5xbf16>
}
