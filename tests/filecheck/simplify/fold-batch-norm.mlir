// RUN: penstock opt -p fold-batch-norm,dce %s | filecheck %s

// A scale becomes part of the weights, and of a bias before it; shifts become one bias.
// CHECK: %[[W:.*]] = graph.constant {value = dense<2.000000e+00> : tensor<1x1x1xf32>}
// CHECK-NEXT: %[[Y:.*]] = graph.conv %x, %[[W]] : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32> loc(fused["conv", "bias", "scale"])
// CHECK-NEXT: %[[B:.*]] = graph.constant {value = dense<9.000000e+00> : tensor<1x1xf32>}
// CHECK-NEXT: graph.add %[[Y]], %[[B]]
// CHECK-NEXT: func.return
func.func @main(%x : tensor<1x1x8xf32>) -> tensor<1x1x8xf32> {
  %w = graph.constant {value = dense<1.0> : tensor<1x1x1xf32>} : () -> tensor<1x1x1xf32> loc("w")
  %b = graph.constant {value = dense<3.0> : tensor<1x1xf32>} : () -> tensor<1x1xf32> loc("b")
  %s = graph.constant {value = dense<2.0> : tensor<1x1x1xf32>} : () -> tensor<1x1x1xf32> loc("s")
  %0 = graph.conv %x, %w : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32> loc("conv")
  %1 = graph.add %0, %b : (tensor<1x1x8xf32>, tensor<1x1xf32>) -> tensor<1x1x8xf32> loc("bias")
  %2 = graph.mul %1, %s : (tensor<1x1x8xf32>, tensor<1x1x1xf32>) -> tensor<1x1x8xf32> loc("scale")
  %3 = graph.add %2, %b : (tensor<1x1x8xf32>, tensor<1x1xf32>) -> tensor<1x1x8xf32> loc("shift")
  func.return %3 : tensor<1x1x8xf32>
}
