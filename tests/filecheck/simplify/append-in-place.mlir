// RUN: penstock opt -p append-in-place %s | filecheck %s

// What a result feeds is a tensor of all the rows there is room for, the last argument and the last result. Those who read
// the rows before or after read the first ones; only the new ones are written.
// CHECK-LABEL: func.func @main(%x: tensor<1x2x4xf32> {penstock.name = "x"}, %past: tensor<1x9x4xf32> {penstock.name = "past"})
// CHECK-SAME: -> (tensor<f32> {penstock.name = "y"}, tensor<1x9x4xf32> {penstock.name = "present", penstock.state = "past"})
// CHECK-NEXT: %[[BEFORE:.*]] = graph.slice %past {starts = [0, 0, 0], steps = [1, 1, 1]} : (tensor<1x9x4xf32>) -> tensor<1x?x4xf32, ["n:0..9"]>
// CHECK-NEXT: %[[R:.*]] = graph.relu %x
// CHECK-NEXT: %[[ROWS:.*]] = graph.concat %[[R]], %x {axis = 1}
// CHECK-NEXT: %[[ALL:.*]] = graph.append %past, %[[ROWS]] {axis = 1, start = "n:0..9"} : (tensor<1x9x4xf32>, tensor<1x4x4xf32>) -> tensor<1x9x4xf32> loc("cat")
// CHECK-NEXT: %[[AFTER:.*]] = graph.slice %[[ALL]] {starts = [0, 0, 0], steps = [1, 1, 1]} : (tensor<1x9x4xf32>) -> tensor<1x?x4xf32, ["n:0..9 + 4"]>
// CHECK-NEXT: %[[A:.*]] = graph.reduce %[[AFTER]]
// CHECK-NEXT: %[[B:.*]] = graph.reduce %[[BEFORE]]
// CHECK-NEXT: %[[Y:.*]] = graph.add %[[A]], %[[B]]
// CHECK-NEXT: func.return %[[Y]], %[[ALL]]
func.func @main(%past : tensor<1x?x4xf32, ["n:0..9"]> {penstock.name = "past"}, %x : tensor<1x2x4xf32> {penstock.name = "x"})
    -> (tensor<1x?x4xf32, ["n:0..9 + 4"]> {penstock.name = "present", penstock.state = "past"}, tensor<f32> {penstock.name = "y"}) {
  %0 = graph.relu %x : (tensor<1x2x4xf32>) -> tensor<1x2x4xf32> loc("relu")
  %1 = graph.concat %past, %0, %x {axis = 1} : (tensor<1x?x4xf32, ["n:0..9"]>, tensor<1x2x4xf32>, tensor<1x2x4xf32>) -> tensor<1x?x4xf32, ["n:0..9 + 4"]> loc("cat")
  %2 = graph.reduce %1 {kind = "sum", axes = [0, 1, 2]} : (tensor<1x?x4xf32, ["n:0..9 + 4"]>) -> tensor<f32> loc("after")
  %3 = graph.reduce %past {kind = "sum", axes = [0, 1, 2]} : (tensor<1x?x4xf32, ["n:0..9"]>) -> tensor<f32> loc("before")
  %4 = graph.add %2, %3 : (tensor<f32>, tensor<f32>) -> tensor<f32> loc("add")
  func.return %1, %4 : tensor<1x?x4xf32, ["n:0..9 + 4"]>, tensor<f32>
}

// Without a mark, or where the pass has been, nothing changes.
// CHECK-LABEL: func.func @plain
// CHECK-NEXT: graph.concat
// CHECK-NEXT: func.return
func.func @plain(%past : tensor<1x?x4xf32, ["n:0..9"]> {penstock.name = "past"}, %x : tensor<1x2x4xf32> {penstock.name = "x"})
    -> (tensor<1x?x4xf32, ["n:0..9 + 2"]> {penstock.name = "present"}) {
  %0 = graph.concat %past, %x {axis = 1} : (tensor<1x?x4xf32, ["n:0..9"]>, tensor<1x2x4xf32>) -> tensor<1x?x4xf32, ["n:0..9 + 2"]> loc("cat")
  func.return %0 : tensor<1x?x4xf32, ["n:0..9 + 2"]>
}
// CHECK-LABEL: func.func @again
// CHECK-NEXT: graph.append
// CHECK-NEXT: func.return
func.func @again(%x : tensor<1x2x4xf32> {penstock.name = "x"}, %past : tensor<1x9x4xf32> {penstock.name = "past"})
    -> (tensor<1x9x4xf32> {penstock.name = "present", penstock.state = "past"}) {
  %0 = graph.append %past, %x {axis = 1, start = "n:0..9"} : (tensor<1x9x4xf32>, tensor<1x2x4xf32>) -> tensor<1x9x4xf32> loc("cat")
  func.return %0 : tensor<1x9x4xf32>
}
