// RUN: penstock opt %s | filecheck %s

// Elementwise arithmetic: every op reads back as it was written, parameters at their default left out.

func.func @sqrt_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sqrt %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sqrt %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("sqrt")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sqrt_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.sqrt %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.sqrt %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("sqrt")
  func.return %r0 : tensor<0xf16>
}
func.func @sqrt_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.sqrt %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.sqrt %x0 : (tensor<f64>) -> tensor<f64> loc("sqrt")
  func.return %r0 : tensor<f64>
}
func.func @sqrt_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.sqrt %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.sqrt %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("sqrt")
  func.return %r0 : tensor<5xbf16>
}
func.func @rsqrt_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.rsqrt %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.rsqrt %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("rsqrt")
  func.return %r0 : tensor<2x3xf32>
}
func.func @rsqrt_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.rsqrt %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.rsqrt %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("rsqrt")
  func.return %r0 : tensor<0xf16>
}
func.func @rsqrt_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.rsqrt %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.rsqrt %x0 : (tensor<f64>) -> tensor<f64> loc("rsqrt")
  func.return %r0 : tensor<f64>
}
func.func @rsqrt_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.rsqrt %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.rsqrt %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("rsqrt")
  func.return %r0 : tensor<5xbf16>
}
func.func @reciprocal_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.reciprocal %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.reciprocal %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("reciprocal")
  func.return %r0 : tensor<2x3xf32>
}
func.func @reciprocal_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.reciprocal %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.reciprocal %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("reciprocal")
  func.return %r0 : tensor<0xf16>
}
func.func @reciprocal_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.reciprocal %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.reciprocal %x0 : (tensor<f64>) -> tensor<f64> loc("reciprocal")
  func.return %r0 : tensor<f64>
}
func.func @reciprocal_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.reciprocal %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.reciprocal %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("reciprocal")
  func.return %r0 : tensor<5xbf16>
}
func.func @exp_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.exp %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.exp %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("exp")
  func.return %r0 : tensor<2x3xf32>
}
func.func @exp_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.exp %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.exp %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("exp")
  func.return %r0 : tensor<0xf16>
}
func.func @exp_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.exp %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.exp %x0 : (tensor<f64>) -> tensor<f64> loc("exp")
  func.return %r0 : tensor<f64>
}
func.func @exp_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.exp %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.exp %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("exp")
  func.return %r0 : tensor<5xbf16>
}
func.func @log_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.log %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.log %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("log")
  func.return %r0 : tensor<2x3xf32>
}
func.func @log_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.log %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.log %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("log")
  func.return %r0 : tensor<0xf16>
}
func.func @log_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.log %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.log %x0 : (tensor<f64>) -> tensor<f64> loc("log")
  func.return %r0 : tensor<f64>
}
func.func @log_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.log %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.log %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("log")
  func.return %r0 : tensor<5xbf16>
}
func.func @erf_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.erf %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.erf %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("erf")
  func.return %r0 : tensor<2x3xf32>
}
func.func @erf_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.erf %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.erf %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("erf")
  func.return %r0 : tensor<0xf16>
}
func.func @erf_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.erf %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.erf %x0 : (tensor<f64>) -> tensor<f64> loc("erf")
  func.return %r0 : tensor<f64>
}
func.func @erf_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.erf %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.erf %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("erf")
  func.return %r0 : tensor<5xbf16>
}
func.func @tanh_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.tanh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.tanh %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("tanh")
  func.return %r0 : tensor<2x3xf32>
}
func.func @tanh_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.tanh %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.tanh %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("tanh")
  func.return %r0 : tensor<0xf16>
}
func.func @tanh_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.tanh %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.tanh %x0 : (tensor<f64>) -> tensor<f64> loc("tanh")
  func.return %r0 : tensor<f64>
}
func.func @tanh_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.tanh %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.tanh %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("tanh")
  func.return %r0 : tensor<5xbf16>
}
func.func @sin_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sin %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sin %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("sin")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sin_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.sin %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.sin %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("sin")
  func.return %r0 : tensor<0xf16>
}
func.func @sin_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.sin %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.sin %x0 : (tensor<f64>) -> tensor<f64> loc("sin")
  func.return %r0 : tensor<f64>
}
func.func @sin_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.sin %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.sin %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("sin")
  func.return %r0 : tensor<5xbf16>
}
func.func @cos_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.cos %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.cos %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("cos")
  func.return %r0 : tensor<2x3xf32>
}
func.func @cos_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.cos %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.cos %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("cos")
  func.return %r0 : tensor<0xf16>
}
func.func @cos_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.cos %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.cos %x0 : (tensor<f64>) -> tensor<f64> loc("cos")
  func.return %r0 : tensor<f64>
}
func.func @cos_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.cos %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.cos %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("cos")
  func.return %r0 : tensor<5xbf16>
}
func.func @floor_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.floor %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.floor %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("floor")
  func.return %r0 : tensor<2x3xf32>
}
func.func @floor_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.floor %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.floor %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("floor")
  func.return %r0 : tensor<0xf16>
}
func.func @floor_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.floor %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.floor %x0 : (tensor<f64>) -> tensor<f64> loc("floor")
  func.return %r0 : tensor<f64>
}
func.func @floor_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.floor %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.floor %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("floor")
  func.return %r0 : tensor<5xbf16>
}
func.func @ceil_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.ceil %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.ceil %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("ceil")
  func.return %r0 : tensor<2x3xf32>
}
func.func @ceil_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.ceil %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.ceil %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("ceil")
  func.return %r0 : tensor<0xf16>
}
func.func @ceil_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.ceil %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.ceil %x0 : (tensor<f64>) -> tensor<f64> loc("ceil")
  func.return %r0 : tensor<f64>
}
func.func @ceil_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.ceil %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.ceil %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("ceil")
  func.return %r0 : tensor<5xbf16>
}
func.func @round_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.round %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.round %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("round")
  func.return %r0 : tensor<2x3xf32>
}
func.func @round_1(%x0 : tensor<0xf16>) -> tensor<0xf16> {
  // CHECK: graph.round %x0 : (tensor<0xf16>) -> tensor<0xf16>
  %r0 = graph.round %x0 : (tensor<0xf16>) -> tensor<0xf16> loc("round")
  func.return %r0 : tensor<0xf16>
}
func.func @round_2(%x0 : tensor<f64>) -> tensor<f64> {
  // CHECK: graph.round %x0 : (tensor<f64>) -> tensor<f64>
  %r0 = graph.round %x0 : (tensor<f64>) -> tensor<f64> loc("round")
  func.return %r0 : tensor<f64>
}
func.func @round_3(%x0 : tensor<5xbf16>) -> tensor<5xbf16> {
  // CHECK: graph.round %x0 : (tensor<5xbf16>) -> tensor<5xbf16>
  %r0 = graph.round %x0 : (tensor<5xbf16>) -> tensor<5xbf16> loc("round")
  func.return %r0 : tensor<5xbf16>
}
func.func @neg_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.neg %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.neg %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("neg")
  func.return %r0 : tensor<2x3xf32>
}
func.func @neg_1(%x0 : tensor<7xi8>) -> tensor<7xi8> {
  // CHECK: graph.neg %x0 : (tensor<7xi8>) -> tensor<7xi8>
  %r0 = graph.neg %x0 : (tensor<7xi8>) -> tensor<7xi8> loc("neg")
  func.return %r0 : tensor<7xi8>
}
func.func @neg_2(%x0 : tensor<7xi64>) -> tensor<7xi64> {
  // CHECK: graph.neg %x0 : (tensor<7xi64>) -> tensor<7xi64>
  %r0 = graph.neg %x0 : (tensor<7xi64>) -> tensor<7xi64> loc("neg")
  func.return %r0 : tensor<7xi64>
}
func.func @abs_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.abs %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.abs %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("abs")
  func.return %r0 : tensor<2x3xf32>
}
func.func @abs_1(%x0 : tensor<7xi8>) -> tensor<7xi8> {
  // CHECK: graph.abs %x0 : (tensor<7xi8>) -> tensor<7xi8>
  %r0 = graph.abs %x0 : (tensor<7xi8>) -> tensor<7xi8> loc("abs")
  func.return %r0 : tensor<7xi8>
}
func.func @abs_2(%x0 : tensor<7xi64>) -> tensor<7xi64> {
  // CHECK: graph.abs %x0 : (tensor<7xi64>) -> tensor<7xi64>
  %r0 = graph.abs %x0 : (tensor<7xi64>) -> tensor<7xi64> loc("abs")
  func.return %r0 : tensor<7xi64>
}
func.func @sign_0(%x0 : tensor<2x3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sign %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sign %x0 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("sign")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sign_1(%x0 : tensor<7xi8>) -> tensor<7xi8> {
  // CHECK: graph.sign %x0 : (tensor<7xi8>) -> tensor<7xi8>
  %r0 = graph.sign %x0 : (tensor<7xi8>) -> tensor<7xi8> loc("sign")
  func.return %r0 : tensor<7xi8>
}
func.func @sign_2(%x0 : tensor<7xi64>) -> tensor<7xi64> {
  // CHECK: graph.sign %x0 : (tensor<7xi64>) -> tensor<7xi64>
  %r0 = graph.sign %x0 : (tensor<7xi64>) -> tensor<7xi64> loc("sign")
  func.return %r0 : tensor<7xi64>
}
func.func @add_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.add %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.add %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("add")
  func.return %r0 : tensor<2x3xf32>
}
func.func @add_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.add %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.add %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("add")
  func.return %r0 : tensor<4x5xi64>
}
func.func @add_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.add %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.add %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("add")
  func.return %r0 : tensor<ui8>
}
func.func @sub_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.sub %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.sub %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("sub")
  func.return %r0 : tensor<2x3xf32>
}
func.func @sub_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.sub %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.sub %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("sub")
  func.return %r0 : tensor<4x5xi64>
}
func.func @sub_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.sub %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.sub %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("sub")
  func.return %r0 : tensor<ui8>
}
func.func @mul_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.mul %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.mul %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("mul")
  func.return %r0 : tensor<2x3xf32>
}
func.func @mul_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.mul %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.mul %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("mul")
  func.return %r0 : tensor<4x5xi64>
}
func.func @mul_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.mul %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.mul %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("mul")
  func.return %r0 : tensor<ui8>
}
func.func @div_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.div %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.div %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("div")
  func.return %r0 : tensor<2x3xf32>
}
func.func @div_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.div %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.div %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("div")
  func.return %r0 : tensor<4x5xi64>
}
func.func @div_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.div %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.div %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("div")
  func.return %r0 : tensor<ui8>
}
func.func @pow_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.pow %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.pow %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("pow")
  func.return %r0 : tensor<2x3xf32>
}
func.func @pow_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.pow %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.pow %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("pow")
  func.return %r0 : tensor<4x5xi64>
}
func.func @pow_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.pow %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.pow %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("pow")
  func.return %r0 : tensor<ui8>
}
func.func @max_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.max %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.max %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("max")
  func.return %r0 : tensor<2x3xf32>
}
func.func @max_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.max %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.max %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("max")
  func.return %r0 : tensor<4x5xi64>
}
func.func @max_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.max %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.max %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("max")
  func.return %r0 : tensor<ui8>
}
func.func @min_0(%x0 : tensor<2x3xf32>, %x1 : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: graph.min %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %r0 = graph.min %x0, %x1 : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("min")
  func.return %r0 : tensor<2x3xf32>
}
func.func @min_1(%x0 : tensor<4x1xi64>, %x1 : tensor<1x5xi64>) -> tensor<4x5xi64> {
  // CHECK: graph.min %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64>
  %r0 = graph.min %x0, %x1 : (tensor<4x1xi64>, tensor<1x5xi64>) -> tensor<4x5xi64> loc("min")
  func.return %r0 : tensor<4x5xi64>
}
func.func @min_2(%x0 : tensor<ui8>, %x1 : tensor<ui8>) -> tensor<ui8> {
  // CHECK: graph.min %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8>
  %r0 = graph.min %x0, %x1 : (tensor<ui8>, tensor<ui8>) -> tensor<ui8> loc("min")
  func.return %r0 : tensor<ui8>
}
func.func @cast_0(%x0 : tensor<4xf32>) -> tensor<4xi64> {
  // CHECK: graph.cast %x0 : (tensor<4xf32>) -> tensor<4xi64>
  %r0 = graph.cast %x0 : (tensor<4xf32>) -> tensor<4xi64> loc("cast")
  func.return %r0 : tensor<4xi64>
}
func.func @cast_1(%x0 : tensor<3xi1>) -> tensor<3xf16> {
  // CHECK: graph.cast %x0 : (tensor<3xi1>) -> tensor<3xf16>
  %r0 = graph.cast %x0 : (tensor<3xi1>) -> tensor<3xf16> loc("cast")
  func.return %r0 : tensor<3xf16>
}
func.func @cast_2(%x0 : tensor<3xi8>) -> tensor<3xui16> {
  // CHECK: graph.cast %x0 : (tensor<3xi8>) -> tensor<3xui16>
  %r0 = graph.cast %x0 : (tensor<3xi8>) -> tensor<3xui16> loc("cast")
  func.return %r0 : tensor<3xui16>
}
func.func @mod_0(%x0 : tensor<4xi32>, %x1 : tensor<4xi32>) -> tensor<4xi32> {
  // CHECK: graph.mod %x0, %x1 : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32>
  %r0 = graph.mod %x0, %x1 : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32> loc("mod")
  func.return %r0 : tensor<4xi32>
}
func.func @mod_1(%x0 : tensor<4xf32>, %x1 : tensor<4xf32>) -> tensor<4xf32> {
  // CHECK: graph.mod %x0, %x1 {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %r0 = graph.mod %x0, %x1 {fmod = true} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("mod")
  func.return %r0 : tensor<4xf32>
}
