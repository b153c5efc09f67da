// RUN: penstock opt %s | filecheck %s

// Counting: the extent that is counted is a parameter, stands in the first result's type, and is the second result.

func.func @non_zero_0(%x0 : tensor<3x?xf32, ["batch"]>) -> tensor<2x?xi64, ["found:0..64"]> {
  // CHECK: %{{.*}}, %{{.*}} = graph.non_zero %{{.*}} {count = "found:0..64"} : (tensor<3x?xf32, ["batch"]>) -> (tensor<2x?xi64, ["found:0..64"]>, tensor<1xi64>)
  %r0, %r1 = graph.non_zero %x0 {count = "found:0..64"} : (tensor<3x?xf32, ["batch"]>) -> (tensor<2x?xi64, ["found:0..64"]>, tensor<1xi64>) loc("non_zero")
  func.return %r0 : tensor<2x?xi64, ["found:0..64"]>
}
func.func @non_zero_1(%x0 : tensor<5xi1>) -> tensor<1x3xi64> {
  // CHECK: graph.non_zero %{{.*}} {count = 3} : (tensor<5xi1>) -> (tensor<1x3xi64>, tensor<1xi64>)
  %r0, %r1 = graph.non_zero %x0 {count = 3} : (tensor<5xi1>) -> (tensor<1x3xi64>, tensor<1xi64>) loc("non_zero")
  func.return %r0 : tensor<1x3xi64>
}
// One number that is taken for a size, with the greatest it can be.
func.func @measure(%x0 : tensor<1xi64>) -> tensor<?xi64, ["length:0..512"]> {
  // CHECK: %{{.*}} = graph.measure %{{.*}} {count = "length:0..512", bound = 512} : (tensor<1xi64>) -> tensor<1xi64>
  %r0 = graph.measure %x0 {count = "length:0..512", bound = 512} : (tensor<1xi64>) -> tensor<1xi64> loc("measure")
  %r1 = graph.iota {axis = 0} : () -> tensor<?xi64, ["length:0..512"]> loc("iota")
  func.return %r1 : tensor<?xi64, ["length:0..512"]>
}
