// RUN: penstock opt -p recognise-attention %s | filecheck %s

// A mask of compared positions says the same at every size: key <= query is the causal rule.
// CHECK-LABEL: func.func @causal
// CHECK: graph.attention %{{.*}}, %{{.*}}, %v {scale = 1.0, causal = true}
// CHECK-NOT: graph.softmax
func.func @causal(%q : tensor<?x2x?x4xf32, ["batch", "seq"]>, %k : tensor<?x2x4x?xf32, ["batch", "seq"]>, %v : tensor<?x2x?x4xf32, ["batch", "seq"]>) -> tensor<?x2x?x4xf32, ["batch", "seq"]> {
  %key = graph.iota {axis = 1} : () -> tensor<1x?xi64, ["seq"]> loc("positions")
  %query = graph.iota {axis = 0} : () -> tensor<?x1xi64, ["seq"]> loc("positions")
  %sees = graph.le %key, %query : (tensor<1x?xi64, ["seq"]>, tensor<?x1xi64, ["seq"]>) -> tensor<?x?xi1, ["seq", "seq"]> loc("sees")
  %zero = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %low = graph.constant {value = dense<-3.4e38> : tensor<f32>} : () -> tensor<f32> loc("low")
  %mask = graph.select %sees, %zero, %low : (tensor<?x?xi1, ["seq", "seq"]>, tensor<f32>, tensor<f32>) -> tensor<?x?xf32, ["seq", "seq"]> loc("mask")
  %qk = graph.matmul %q, %k : (tensor<?x2x?x4xf32, ["batch", "seq"]>, tensor<?x2x4x?xf32, ["batch", "seq"]>) -> tensor<?x2x?x?xf32, ["batch", "seq", "seq"]> loc("scores")
  %masked = graph.add %qk, %mask : (tensor<?x2x?x?xf32, ["batch", "seq", "seq"]>, tensor<?x?xf32, ["seq", "seq"]>) -> tensor<?x2x?x?xf32, ["batch", "seq", "seq"]> loc("masked")
  %p = graph.softmax %masked {axis = 3} : (tensor<?x2x?x?xf32, ["batch", "seq", "seq"]>) -> tensor<?x2x?x?xf32, ["batch", "seq", "seq"]> loc("softmax")
  %y = graph.matmul %p, %v : (tensor<?x2x?x?xf32, ["batch", "seq", "seq"]>, tensor<?x2x?x4xf32, ["batch", "seq"]>) -> tensor<?x2x?x4xf32, ["batch", "seq"]> loc("y")
  func.return %y : tensor<?x2x?x4xf32, ["batch", "seq"]>
}

// Queries after ``past`` others: the offset is an extent.
// CHECK-LABEL: func.func @chunk
// CHECK: graph.attention %{{.*}}, %{{.*}}, %v {scale = 1.0, causal = true, causal_offset = "past:0..4096"}
func.func @chunk(%q : tensor<1x2x?x4xf32, ["seq"]>, %k : tensor<1x2x4x?xf32, ["past:0..4096 + seq"]>, %v : tensor<1x2x?x4xf32, ["past:0..4096 + seq"]>) -> tensor<1x2x?x4xf32, ["seq"]> {
  %key = graph.iota {axis = 1} : () -> tensor<1x?xi64, ["past:0..4096 + seq"]> loc("positions")
  %index = graph.iota {axis = 0} : () -> tensor<?x1xi64, ["seq"]> loc("positions")
  %past = graph.extent {values = ["past:0..4096"]} : () -> tensor<i64> loc("past")
  %query = graph.add %index, %past : (tensor<?x1xi64, ["seq"]>, tensor<i64>) -> tensor<?x1xi64, ["seq"]> loc("query")
  %hides = graph.gt %key, %query : (tensor<1x?xi64, ["past:0..4096 + seq"]>, tensor<?x1xi64, ["seq"]>) -> tensor<?x?xi1, ["seq", "past:0..4096 + seq"]> loc("hides")
  %low = graph.constant {value = dense<-3.4e38> : tensor<f32>} : () -> tensor<f32> loc("low")
  %qk = graph.matmul %q, %k : (tensor<1x2x?x4xf32, ["seq"]>, tensor<1x2x4x?xf32, ["past:0..4096 + seq"]>) -> tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]> loc("scores")
  %masked = graph.select %hides, %low, %qk : (tensor<?x?xi1, ["seq", "past:0..4096 + seq"]>, tensor<f32>, tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]>) -> tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]> loc("masked")
  %p = graph.softmax %masked {axis = 3} : (tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]>) -> tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]> loc("softmax")
  %y = graph.matmul %p, %v : (tensor<1x2x?x?xf32, ["seq", "past:0..4096 + seq"]>, tensor<1x2x?x4xf32, ["past:0..4096 + seq"]>) -> tensor<1x2x?x4xf32, ["seq"]> loc("y")
  func.return %y : tensor<1x2x?x4xf32, ["seq"]>
}

// One query after all others sees every key: there is no mask.
// CHECK-LABEL: func.func @step
// CHECK: graph.attention %{{.*}}, %{{.*}}, %v {scale = 1.0} :
func.func @step(%q : tensor<1x2x1x4xf32>, %k : tensor<1x2x4x?xf32, ["past + 1"]>, %v : tensor<1x2x?x4xf32, ["past + 1"]>) -> tensor<1x2x1x4xf32> {
  %key = graph.iota {axis = 0} : () -> tensor<?xi64, ["past + 1"]> loc("positions")
  %past = graph.extent {values = ["past"]} : () -> tensor<i64> loc("past")
  %sees = graph.le %key, %past : (tensor<?xi64, ["past + 1"]>, tensor<i64>) -> tensor<?xi1, ["past + 1"]> loc("sees")
  %zero = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %low = graph.constant {value = dense<-3.4e38> : tensor<f32>} : () -> tensor<f32> loc("low")
  %mask = graph.select %sees, %zero, %low : (tensor<?xi1, ["past + 1"]>, tensor<f32>, tensor<f32>) -> tensor<?xf32, ["past + 1"]> loc("mask")
  %qk = graph.matmul %q, %k : (tensor<1x2x1x4xf32>, tensor<1x2x4x?xf32, ["past + 1"]>) -> tensor<1x2x1x?xf32, ["past + 1"]> loc("scores")
  %masked = graph.add %qk, %mask : (tensor<1x2x1x?xf32, ["past + 1"]>, tensor<?xf32, ["past + 1"]>) -> tensor<1x2x1x?xf32, ["past + 1"]> loc("masked")
  %p = graph.softmax %masked {axis = 3} : (tensor<1x2x1x?xf32, ["past + 1"]>) -> tensor<1x2x1x?xf32, ["past + 1"]> loc("softmax")
  %y = graph.matmul %p, %v : (tensor<1x2x1x?xf32, ["past + 1"]>, tensor<1x2x?x4xf32, ["past + 1"]>) -> tensor<1x2x1x4xf32> loc("y")
  func.return %y : tensor<1x2x1x4xf32>
}

// A window over the keys is no causal rule: it stays a mask.
// CHECK-LABEL: func.func @window
// CHECK: graph.attention %{{.*}}, %{{.*}}, %v, %{{.*}} {scale = 1.0} :
func.func @window(%q : tensor<1x2x?x4xf32, ["seq"]>, %k : tensor<1x2x4x?xf32, ["seq"]>, %v : tensor<1x2x?x4xf32, ["seq"]>) -> tensor<1x2x?x4xf32, ["seq"]> {
  %key = graph.iota {axis = 1} : () -> tensor<1x?xi64, ["seq"]> loc("positions")
  %query = graph.iota {axis = 0} : () -> tensor<?x1xi64, ["seq"]> loc("positions")
  %sees = graph.ge %key, %query : (tensor<1x?xi64, ["seq"]>, tensor<?x1xi64, ["seq"]>) -> tensor<?x?xi1, ["seq", "seq"]> loc("sees")
  %zero = graph.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32> loc("zero")
  %low = graph.constant {value = dense<-3.4e38> : tensor<f32>} : () -> tensor<f32> loc("low")
  %mask = graph.select %sees, %zero, %low : (tensor<?x?xi1, ["seq", "seq"]>, tensor<f32>, tensor<f32>) -> tensor<?x?xf32, ["seq", "seq"]> loc("mask")
  %qk = graph.matmul %q, %k : (tensor<1x2x?x4xf32, ["seq"]>, tensor<1x2x4x?xf32, ["seq"]>) -> tensor<1x2x?x?xf32, ["seq", "seq"]> loc("scores")
  %masked = graph.add %qk, %mask : (tensor<1x2x?x?xf32, ["seq", "seq"]>, tensor<?x?xf32, ["seq", "seq"]>) -> tensor<1x2x?x?xf32, ["seq", "seq"]> loc("masked")
  %p = graph.softmax %masked {axis = 3} : (tensor<1x2x?x?xf32, ["seq", "seq"]>) -> tensor<1x2x?x?xf32, ["seq", "seq"]> loc("softmax")
  %y = graph.matmul %p, %v : (tensor<1x2x?x?xf32, ["seq", "seq"]>, tensor<1x2x?x4xf32, ["seq"]>) -> tensor<1x2x?x4xf32, ["seq"]> loc("y")
  func.return %y : tensor<1x2x?x4xf32, ["seq"]>
}
