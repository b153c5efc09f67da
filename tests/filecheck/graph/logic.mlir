// RUN: penstock opt %s | filecheck %s

// Comparison, logic and selection: every op reads back as it was written, parameters at their default left out.

func.func @is_nan_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.is_nan %x0 : (tensor<2x3xf32>) -> tensor<2x3xi1>
  %r0 = graph.is_nan %x0 : (tensor<2x3xf32>) -> tensor<2x3xi1> loc("is_nan")
  func.return %r0 : tensor<2x3xi1>
}
func.func @is_nan_1(%x0 : tensor<0xf16>) -> tensor<0xi1> {
  // CHECK: graph.is_nan %x0 : (tensor<0xf16>) -> tensor<0xi1>
  %r0 = graph.is_nan %x0 : (tensor<0xf16>) -> tensor<0xi1> loc("is_nan")
  func.return %r0 : tensor<0xi1>
}
func.func @is_nan_2(%x0 : tensor<f64>) -> tensor<i1> {
  // CHECK: graph.is_nan %x0 : (tensor<f64>) -> tensor<i1>
  %r0 = graph.is_nan %x0 : (tensor<f64>) -> tensor<i1> loc("is_nan")
  func.return %r0 : tensor<i1>
}
func.func @is_nan_3(%x0 : tensor<5xbf16>) -> tensor<5xi1> {
  // CHECK: graph.is_nan %x0 : (tensor<5xbf16>) -> tensor<5xi1>
  %r0 = graph.is_nan %x0 : (tensor<5xbf16>) -> tensor<5xi1> loc("is_nan")
  func.return %r0 : tensor<5xi1>
}
func.func @eq_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.eq %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.eq %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("eq")
  func.return %r0 : tensor<2x3xi1>
}
func.func @eq_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.eq %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.eq %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("eq")
  func.return %r0 : tensor<4x5xi1>
}
func.func @eq_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.eq %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.eq %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("eq")
  func.return %r0 : tensor<i1>
}
func.func @ne_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.ne %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.ne %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("ne")
  func.return %r0 : tensor<2x3xi1>
}
func.func @ne_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.ne %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.ne %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("ne")
  func.return %r0 : tensor<4x5xi1>
}
func.func @ne_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.ne %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.ne %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("ne")
  func.return %r0 : tensor<i1>
}
func.func @lt_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.lt %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.lt %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("lt")
  func.return %r0 : tensor<2x3xi1>
}
func.func @lt_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.lt %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.lt %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("lt")
  func.return %r0 : tensor<4x5xi1>
}
func.func @lt_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.lt %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.lt %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("lt")
  func.return %r0 : tensor<i1>
}
func.func @le_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.le %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.le %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("le")
  func.return %r0 : tensor<2x3xi1>
}
func.func @le_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.le %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.le %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("le")
  func.return %r0 : tensor<4x5xi1>
}
func.func @le_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.le %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.le %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("le")
  func.return %r0 : tensor<i1>
}
func.func @gt_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.gt %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.gt %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("gt")
  func.return %r0 : tensor<2x3xi1>
}
func.func @gt_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.gt %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.gt %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("gt")
  func.return %r0 : tensor<4x5xi1>
}
func.func @gt_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.gt %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.gt %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("gt")
  func.return %r0 : tensor<i1>
}
func.func @ge_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xi1> {
  // CHECK: graph.ge %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1>
  %r0 = graph.ge %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xi1> loc("ge")
  func.return %r0 : tensor<2x3xi1>
}
func.func @ge_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi1> {
  // CHECK: graph.ge %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1>
  %r0 = graph.ge %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi1> loc("ge")
  func.return %r0 : tensor<4x5xi1>
}
func.func @ge_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<i1> {
  // CHECK: graph.ge %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1>
  %r0 = graph.ge %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<i1> loc("ge")
  func.return %r0 : tensor<i1>
}
func.func @and_0(%x0 : tensor<2x3xi1>, %x1 : tensor<3xi1>) -> tensor<2x3xi1> {
  // CHECK: graph.and %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1>
  %r0 = graph.and %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1> loc("and")
  func.return %r0 : tensor<2x3xi1>
}
func.func @or_0(%x0 : tensor<2x3xi1>, %x1 : tensor<3xi1>) -> tensor<2x3xi1> {
  // CHECK: graph.or %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1>
  %r0 = graph.or %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1> loc("or")
  func.return %r0 : tensor<2x3xi1>
}
func.func @xor_0(%x0 : tensor<2x3xi1>, %x1 : tensor<3xi1>) -> tensor<2x3xi1> {
  // CHECK: graph.xor %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1>
  %r0 = graph.xor %x0, %x1 : (tensor<2x3xi1>, tensor<3xi1>) -> tensor<2x3xi1> loc("xor")
  func.return %r0 : tensor<2x3xi1>
}
func.func @not_0(%x0 : tensor<4xi1>) -> tensor<4xi1> {
  // CHECK: graph.not %x0 : (tensor<4xi1>) -> tensor<4xi1>
  %r0 = graph.not %x0 : (tensor<4xi1>) -> tensor<4xi1> loc("not")
  func.return %r0 : tensor<4xi1>
}
func.func @is_inf_0(%x0 : tensor<4xf32>) -> tensor<4xi1> {
  // CHECK: graph.is_inf %x0 : (tensor<4xf32>) -> tensor<4xi1>
  %r0 = graph.is_inf %x0 : (tensor<4xf32>) -> tensor<4xi1> loc("is_inf")
  func.return %r0 : tensor<4xi1>
}
func.func @is_inf_1(%x0 : tensor<4xf32>) -> tensor<4xi1> {
  // CHECK: graph.is_inf %x0 {negative = false} : (tensor<4xf32>) -> tensor<4xi1>
  %r0 = graph.is_inf %x0 {negative = false} : (tensor<4xf32>) -> tensor<4xi1> loc("is_inf")
  func.return %r0 : tensor<4xi1>
}
func.func @select_0(%x0 : tensor<2x1xi1>, %x1 : tensor<3xf32>, %x2 : tensor<f32>) -> tensor<2x3xf32> {
  // CHECK: graph.select %x0, %x1, %x2 : (tensor<2x1xi1>, tensor<3xf32>, tensor<f32>) -> tensor<2x3xf32>
  %r0 = graph.select %x0, %x1, %x2 : (tensor<2x1xi1>, tensor<3xf32>, tensor<f32>) -> tensor<2x3xf32> loc("select")
  func.return %r0 : tensor<2x3xf32>
}
