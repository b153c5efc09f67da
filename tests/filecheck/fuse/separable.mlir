// RUN: penstock opt -p form-dispatches %s | filecheck %s

// A depthwise convolution and the pointwise one after it are one dispatch, with what stands between them and after.
// CHECK-LABEL: @together
// CHECK: graph.dispatch "separable" @point
// CHECK-NEXT: graph.conv
// CHECK-NEXT: graph.relu
// CHECK-NEXT: graph.reshape
// CHECK-NEXT: graph.matmul
// CHECK-NEXT: graph.relu
// CHECK-NOT: graph.dispatch
func.func @together(%x : tensor<1x14x15x8xf32> {penstock.name = "x"}, %w : tensor<1x1x1x8xf32>, %p : tensor<1x8x16xf32>) -> (tensor<210x16xf32> {penstock.name = "y"}) {
  %c = graph.conv %x, %w {layout = "channels_last", groups = 8} : (tensor<1x14x15x8xf32>, tensor<1x1x1x8xf32>) -> tensor<1x14x15x8xf32> loc("depth")
  %r = graph.relu %c : (tensor<1x14x15x8xf32>) -> tensor<1x14x15x8xf32> loc("relu")
  %f = graph.reshape %r : (tensor<1x14x15x8xf32>) -> tensor<210x8xf32> loc("point")
  %m = graph.matmul %f, %p {b_panel = 16, n = 16} : (tensor<210x8xf32>, tensor<1x8x16xf32>) -> tensor<210x16xf32> loc("point")
  %y = graph.relu %m : (tensor<210x16xf32>) -> tensor<210x16xf32> loc("after")
  func.return %y : tensor<210x16xf32>
}

// Rows of the image that are short would read the weights too often.
// CHECK-LABEL: @short
// CHECK: graph.dispatch "depthwise"
// CHECK: graph.dispatch "contraction"
func.func @short(%x : tensor<1x14x7x8xf32> {penstock.name = "x"}, %w : tensor<1x1x1x8xf32>, %p : tensor<1x8x16xf32>) -> (tensor<98x16xf32> {penstock.name = "y"}) {
  %c = graph.conv %x, %w {layout = "channels_last", groups = 8} : (tensor<1x14x7x8xf32>, tensor<1x1x1x8xf32>) -> tensor<1x14x7x8xf32> loc("depth")
  %f = graph.reshape %c : (tensor<1x14x7x8xf32>) -> tensor<98x8xf32> loc("point")
  %y = graph.matmul %f, %p {b_panel = 16, n = 16} : (tensor<98x8xf32>, tensor<1x8x16xf32>) -> tensor<98x16xf32> loc("point")
  func.return %y : tensor<98x16xf32>
}

// Somebody else needs what the depthwise convolution computes.
// CHECK-LABEL: @shared
// CHECK: graph.dispatch "depthwise"
// CHECK: graph.dispatch "contraction"
func.func @shared(%x : tensor<1x14x15x8xf32> {penstock.name = "x"}, %w : tensor<1x1x1x8xf32>, %p : tensor<1x8x16xf32>) -> (tensor<210x16xf32> {penstock.name = "y"}, tensor<210x8xf32> {penstock.name = "z"}) {
  %c = graph.conv %x, %w {layout = "channels_last", groups = 8} : (tensor<1x14x15x8xf32>, tensor<1x1x1x8xf32>) -> tensor<1x14x15x8xf32> loc("depth")
  %f = graph.reshape %c : (tensor<1x14x15x8xf32>) -> tensor<210x8xf32> loc("point")
  %y = graph.matmul %f, %p {b_panel = 16, n = 16} : (tensor<210x8xf32>, tensor<1x8x16xf32>) -> tensor<210x16xf32> loc("point")
  func.return %y, %f : tensor<210x16xf32>, tensor<210x8xf32>
}
