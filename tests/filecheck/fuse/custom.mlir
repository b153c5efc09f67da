// RUN: penstock opt -p fuse %s | filecheck %s
// RUN: penstock opt -p fuse,lower{isa=x86-64-v3} %s | filecheck %s --check-prefix TILE

// A kernel that a user brings along is alone in its dispatch: nothing is fused before or after it, and a buffer that it
// reads twice is listed twice.
// CHECK-LABEL: func.func @main
// CHECK: %[[E:.*]] = graph.dispatch "map"
// CHECK: %[[Y:.*]] = graph.dispatch "custom" @op({{.*}} = %[[E]] : tensor<4xf32>, {{.*}} = %[[E]] : tensor<4xf32>) {
// CHECK-NEXT: graph.custom
// CHECK-NEXT: graph.yield
// CHECK: graph.dispatch "map"

// Its tile kernel has no body of its own, and says what takes its place.
// TILE: tile.kernel @op({{.*}}: memref<4xf32>, {{.*}}: memref<4xf32>, {{.*}}: memref<4xf32>) units({{.*}} of 4)
// TILE-SAME: object = "op#1", entry = "op"
// TILE-NEXT: tile.return
func.func @main(%x : tensor<4xf32> {penstock.name = "x"}) -> (tensor<4xf32> {penstock.name = "y"}) {
  %e = graph.exp %x : (tensor<4xf32>) -> tensor<4xf32>
  %y = graph.custom %e, %e {operator = "com.example.Op.1", symbol = "op", levels = ["x86-64-v3"], objects = ["op#1"], units = 4}
    : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> loc("op")
  %z = graph.neg %y : (tensor<4xf32>) -> tensor<4xf32>
  func.return %z : tensor<4xf32>
}
