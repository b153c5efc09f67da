// RUN: penstock opt %s | filecheck %s

// Constants: small values inline, others by key; NaN and infinities as the bytes of the value.

func.func @constants() -> (tensor<2xf32>, tensor<i64>, tensor<2xf32>, tensor<100xf32>) {
  // CHECK: graph.constant {value = dense<[1.500000e+00, -2.000000e+00]> : tensor<2xf32>} : () -> tensor<2xf32>
  %0 = graph.constant {value = dense<[1.5, -2.0]> : tensor<2xf32>} : () -> tensor<2xf32> loc("a")
  // CHECK: graph.constant {value = dense<7> : tensor<i64>} : () -> tensor<i64>
  %1 = graph.constant {value = dense<7> : tensor<i64>} : () -> tensor<i64> loc("b")
  // CHECK: graph.constant {value = dense<"0x000080ff0000c07f"> : tensor<2xf32>} : () -> tensor<2xf32>
  %2 = graph.constant {value = dense<"0x000080ff0000c07f"> : tensor<2xf32>} : () -> tensor<2xf32> loc("c")
  // CHECK: graph.constant {key = "layer.weight#0123456789abcdef"} : () -> tensor<100xf32>
  %3 = graph.constant {key = "layer.weight#0123456789abcdef"} : () -> tensor<100xf32> loc("d")
  func.return %0, %1, %2, %3 : tensor<2xf32>, tensor<i64>, tensor<2xf32>, tensor<100xf32>
}

// A dispatch names its operands anew and is isolated from above.

// CHECK-LABEL: func.func @dispatch
func.func @dispatch(%x : tensor<2x3xf32>, %y : tensor<3xf32>) -> tensor<2x3xf32> {
  // CHECK: %0 = graph.dispatch "map" @relu_0(%a = %x : tensor<2x3xf32>, %b = %y : tensor<3xf32>) {
  // CHECK-NEXT: %1 = graph.add %a, %b : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("Add_1")
  // CHECK-NEXT: %2 = graph.relu %1 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("Relu_2")
  // CHECK-NEXT: graph.yield %2 : (tensor<2x3xf32>) -> ()
  // CHECK-NEXT: }
  %0 = graph.dispatch "map" @relu_0(%a = %x : tensor<2x3xf32>, %b = %y : tensor<3xf32>) {
    %1 = graph.add %a, %b : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> loc("Add_1")
    %2 = graph.relu %1 : (tensor<2x3xf32>) -> tensor<2x3xf32> loc("Relu_2")
    graph.yield %2 : (tensor<2x3xf32>) -> () loc("Relu_2")
  } loc(fused["Add_1", "Relu_2"])
  func.return %0 : tensor<2x3xf32>
}
