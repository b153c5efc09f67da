// RUN: penstock opt -p fold-constants %s | filecheck %s

// CHECK-LABEL: func.func @folded
// CHECK-NEXT: %{{.*}} = graph.constant {value = dense<[3.000000e+00, 6.000000e+00]> : tensor<2xf32>} : () -> tensor<2xf32> loc("b")
// CHECK-NEXT: graph.add %x, %{{.*}} : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("c")
func.func @folded(%x : tensor<2xf32>) -> tensor<2xf32> {
  %0 = graph.constant {value = dense<[1.0, 2.0]> : tensor<2xf32>} : () -> tensor<2xf32> loc("v")
  %1 = graph.constant {value = dense<3.0> : tensor<f32>} : () -> tensor<f32> loc("three")
  %2 = graph.mul %0, %1 : (tensor<2xf32>, tensor<f32>) -> tensor<2xf32> loc("b")
  %3 = graph.add %x, %2 : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("c")
  func.return %3 : tensor<2xf32>
}

// What is large and simple to say stays said simply; something small that is made of it is computed.
// CHECK-LABEL: func.func @simple
// CHECK: graph.expand %{{.*}} : (tensor<f32>) -> tensor<1000x1000xf32>
// CHECK: graph.constant {value = dense<45> : tensor<i64>} : () -> tensor<i64>
func.func @simple(%x : tensor<1000x1000xf32>) -> (tensor<1000x1000xf32>, tensor<i64>) {
  %0 = graph.constant {value = dense<3.0> : tensor<f32>} : () -> tensor<f32> loc("three")
  %1 = graph.expand %0 : (tensor<f32>) -> tensor<1000x1000xf32> loc("a")
  %2 = graph.exp %1 : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32> loc("b")
  %3 = graph.add %x, %2 : (tensor<1000x1000xf32>, tensor<1000x1000xf32>) -> tensor<1000x1000xf32> loc("c")
  %4 = graph.iota : () -> tensor<10xi64> loc("d")
  %5 = graph.reduce %4 {kind = "sum", axes = [0]} : (tensor<10xi64>) -> tensor<i64> loc("e")
  func.return %3, %5 : tensor<1000x1000xf32>, tensor<i64>
}
