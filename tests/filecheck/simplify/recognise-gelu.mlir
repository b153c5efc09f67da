// RUN: penstock opt -p recognise-gelu %s | filecheck %s

// CHECK-LABEL: func.func @erf
// CHECK-NEXT: graph.gelu %x : (tensor<4xf32>) -> tensor<4xf32> loc(fused["scale", "erf", "one", "product", "half"])
// CHECK-NEXT: func.return
func.func @erf(%x : tensor<4xf32>) -> tensor<4xf32> {
  %root = graph.constant {value = dense<1.41421354> : tensor<f32>} : () -> tensor<f32> loc("c")
  %1 = graph.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32> loc("c")
  %2 = graph.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32> loc("c")
  %3 = graph.div %x, %root : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("scale")
  %4 = graph.erf %3 : (tensor<4xf32>) -> tensor<4xf32> loc("erf")
  %5 = graph.add %4, %1 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("one")
  %6 = graph.mul %x, %5 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("product")
  %7 = graph.mul %6, %2 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("half")
  func.return %7 : tensor<4xf32>
}

// CHECK-LABEL: func.func @tanh
// CHECK-NEXT: graph.gelu %x {approximate = "tanh"}
// CHECK-NEXT: func.return
func.func @tanh(%x : tensor<4xf32>) -> tensor<4xf32> {
  %three = graph.constant {value = dense<3.0> : tensor<f32>} : () -> tensor<f32> loc("c")
  %a = graph.constant {value = dense<0.044715> : tensor<f32>} : () -> tensor<f32> loc("c")
  %b = graph.constant {value = dense<0.797884583> : tensor<f32>} : () -> tensor<f32> loc("c")
  %one = graph.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32> loc("c")
  %half = graph.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32> loc("c")
  %0 = graph.pow %x, %three : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("pow")
  %1 = graph.mul %0, %a : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("mul")
  %2 = graph.add %x, %1 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("add")
  %3 = graph.mul %2, %b : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("mul2")
  %4 = graph.tanh %3 : (tensor<4xf32>) -> tensor<4xf32> loc("tanh")
  %5 = graph.add %4, %one : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("add2")
  %6 = graph.mul %x, %half : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("half")
  %7 = graph.mul %6, %5 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("product")
  func.return %7 : tensor<4xf32>
}

// Another function of the same shape is left alone.
// CHECK-LABEL: func.func @other
// CHECK: graph.erf
func.func @other(%x : tensor<4xf32>) -> tensor<4xf32> {
  %1 = graph.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32> loc("c")
  %2 = graph.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32> loc("c")
  %4 = graph.erf %x : (tensor<4xf32>) -> tensor<4xf32> loc("erf")
  %5 = graph.add %4, %1 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("one")
  %6 = graph.mul %x, %5 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("product")
  %7 = graph.mul %6, %2 : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32> loc("half")
  func.return %7 : tensor<4xf32>
}
