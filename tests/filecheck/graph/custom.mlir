// RUN: penstock opt %s | filecheck %s

// What a kernel that a user brings along is called with, by level. The object code itself is among the weights.
// CHECK-LABEL: func.func @main
// CHECK: %y, %z = graph.custom %x, %p {operator = "com.example.Op.1", symbol = "op", levels = ["x86-64-v4", "x86-64-v3"],
// CHECK-SAME: objects = ["op#1", "op#2"], units = 4, unit_cost = 12.5, parameters_last = true, settings = "{\22a\22: 1}"}
// CHECK-SAME: (tensor<4xf32>, tensor<1xi64>) -> (tensor<4xf32>, tensor<i64>)
func.func @main(%x : tensor<4xf32> {penstock.name = "x"}, %p : tensor<1xi64> {penstock.name = "p"})
    -> (tensor<4xf32> {penstock.name = "y"}, tensor<i64> {penstock.name = "z"}) {
  %y, %z = graph.custom %x, %p {operator = "com.example.Op.1", symbol = "op", levels = ["x86-64-v4", "x86-64-v3"],
    objects = ["op#1", "op#2"], units = 4, unit_cost = 12.5, parameters_last = true, settings = "{\22a\22: 1}"}
    : (tensor<4xf32>, tensor<1xi64>) -> (tensor<4xf32>, tensor<i64>)
  func.return %y, %z : tensor<4xf32>, tensor<i64>
}
