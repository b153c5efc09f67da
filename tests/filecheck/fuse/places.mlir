// RUN: penstock opt -p form-dispatches %s | filecheck %s

// Eight slices of one value whose elements lie together stay outside of dispatches: they are places in its memory. One
// that is cut across does not.
// CHECK-DAG: %[[A:.*]] = graph.slice %x {starts = [0, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32>
// CHECK-DAG: graph.dispatch "map" @a({{.*}} = %[[A]] : tensor<1x4xf32>) {
// CHECK-DAG: %[[B:.*]] = graph.slice %x {starts = [1, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32>
// CHECK-DAG: graph.dispatch "map" @b({{.*}} = %[[B]] : tensor<1x4xf32>) {
// CHECK: graph.dispatch "map" @c({{.*}} = %x : tensor<8x4xf32>) {
// CHECK-NEXT: graph.slice
func.func @main(%x : tensor<8x4xf32>) -> (tensor<1x4xf32>, tensor<1x4xf32>, tensor<8x1xf32>) {
  %0 = graph.slice %x {starts = [0, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("0")
  %1 = graph.slice %x {starts = [1, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("1")
  %2 = graph.slice %x {starts = [2, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("2")
  %3 = graph.slice %x {starts = [3, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("3")
  %4 = graph.slice %x {starts = [4, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("4")
  %5 = graph.slice %x {starts = [5, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("5")
  %6 = graph.slice %x {starts = [6, 0], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<1x4xf32> loc("6")
  %7 = graph.slice %x {starts = [0, 2], steps = [1, 1]} : (tensor<8x4xf32>) -> tensor<8x1xf32> loc("7")
  %a = graph.exp %0 : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("a")
  %b = graph.exp %1 : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("b")
  %c = graph.exp %7 : (tensor<8x1xf32>) -> tensor<8x1xf32> loc("c")
  %used = graph.concat %2, %3, %4, %5, %6 {axis = 0} : (tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<5x4xf32> loc("used")
  func.return %a, %b, %c : tensor<1x4xf32>, tensor<1x4xf32>, tensor<8x1xf32>
}
