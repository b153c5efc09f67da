// RUN: penstock opt -p dce,form-dispatches %s | filecheck %s

// What is counted is known by its symbol alone here: the op stays, and comes before what is as long as it found.
// CHECK: %[[AT:.*]], %{{.*}} = graph.dispatch "counting" @find
// CHECK: graph.non_zero
// CHECK: graph.dispatch "map"
// CHECK: graph.iota : () -> tensor<?xf32, ["found:0..9"]>
// An op that counts what nobody asks for goes.
// CHECK-NOT: nobody
func.func @main(%x : tensor<9xi1> {penstock.name = "x"}) -> (tensor<?xf32, ["found:0..9"]> {penstock.name = "y"}) {
  %at, %count = graph.non_zero %x {count = "found:0..9"} : (tensor<9xi1>) -> (tensor<1x?xi64, ["found:0..9"]>, tensor<1xi64>) loc("find")
  %no, %none = graph.non_zero %x {count = "nobody:0..9"} : (tensor<9xi1>) -> (tensor<1x?xi64, ["nobody:0..9"]>, tensor<1xi64>) loc("lose")
  %y = graph.iota {axis = 0} : () -> tensor<?xf32, ["found:0..9"]> loc("iota")
  func.return %y : tensor<?xf32, ["found:0..9"]>
}
// A size that is measured is needed where others know it by its symbol, and where it has to be a number.
// CHECK-LABEL: @measured
// CHECK: graph.dispatch "measuring" @length
// CHECK: graph.dispatch "measuring" @fixed
// CHECK-NOT: @unused
func.func @measured(%x : tensor<1xi64> {penstock.name = "x"}) -> (tensor<?xf32, ["length:0..9"]> {penstock.name = "y"}) {
  %a = graph.measure %x {count = "length:0..9", bound = 9} : (tensor<1xi64>) -> tensor<1xi64> loc("length")
  %b = graph.measure %x {count = 5, bound = 9} : (tensor<1xi64>) -> tensor<1xi64> loc("fixed")
  %c = graph.measure %x {count = "other:0..9", bound = 9} : (tensor<1xi64>) -> tensor<1xi64> loc("unused")
  %y = graph.iota {axis = 0} : () -> tensor<?xf32, ["length:0..9"]> loc("iota")
  func.return %y : tensor<?xf32, ["length:0..9"]>
}
