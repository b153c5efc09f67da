// RUN: penstock opt %s | filecheck %s

// Ops that move lanes.

// CHECK: tile.kernel @moves(%0: memref<96xf32>, %1: memref<96xf32>) units(%2, %3 of 1) {
tile.kernel @moves(%0: memref<96xf32>, %1: memref<96xf32>) units(%2, %3 of 1) {
// CHECK: %4 = tile.constant {value = 1 : index} : () -> index
  %4 = tile.constant {value = 1 : index} : () -> index loc("n")
// CHECK: %5 = tile.constant {value = 0 : index} : () -> index
  %5 = tile.constant {value = 0 : index} : () -> index loc("n")
// CHECK: scf.for %6 = %2 to %3 step %4 {
  scf.for %6 = %2 to %3 step %4 {
// CHECK: %7 = tile.load %0, %5 {strides = [24, 1]} : (memref<96xf32>, index) -> vector<4x24xf32>
    %7 = tile.load %0, %5 {strides = [24, 1]} : (memref<96xf32>, index) -> vector<4x24xf32> loc("n")
// CHECK: %8 = tile.reduce %7 {kind = "add", dims = [1]} : (vector<4x24xf32>) -> vector<4x1xf32>
    %8 = tile.reduce %7 {kind = "add", dims = [1]} : (vector<4x24xf32>) -> vector<4x1xf32> loc("n")
// CHECK: %9 = tile.transpose %7 : (vector<4x24xf32>) -> vector<24x4xf32>
    %9 = tile.transpose %7 : (vector<4x24xf32>) -> vector<24x4xf32> loc("n")
// CHECK: %10 = tile.reshape %9 : (vector<24x4xf32>) -> vector<96xf32>
    %10 = tile.reshape %9 : (vector<24x4xf32>) -> vector<96xf32> loc("n")
// CHECK: %11 = tile.extract %10 {position = [3]} : (vector<96xf32>) -> f32
    %11 = tile.extract %10 {position = [3]} : (vector<96xf32>) -> f32 loc("n")
// CHECK: %12 = tile.iota {dim = 1} : () -> vector<4x24xindex>
    %12 = tile.iota {dim = 1} : () -> vector<4x24xindex> loc("n")
// CHECK: %13 = tile.broadcast %8 : (vector<4x1xf32>) -> vector<4x24xf32>
    %13 = tile.broadcast %8 : (vector<4x1xf32>) -> vector<4x24xf32> loc("n")
// CHECK: %14 = tile.mul %13, %11 : (vector<4x24xf32>, f32) -> vector<4x24xf32>
    %14 = tile.mul %13, %11 : (vector<4x24xf32>, f32) -> vector<4x24xf32> loc("n")
// CHECK: %15 = tile.cast %12 : (vector<4x24xindex>) -> vector<4x24xf32>
    %15 = tile.cast %12 : (vector<4x24xindex>) -> vector<4x24xf32> loc("n")
// CHECK: %16 = tile.add %14, %15 : (vector<4x24xf32>, vector<4x24xf32>) -> vector<4x24xf32>
    %16 = tile.add %14, %15 : (vector<4x24xf32>, vector<4x24xf32>) -> vector<4x24xf32> loc("n")
// CHECK: tile.store %16, %1, %5 {strides = [24, 1]} : (vector<4x24xf32>, memref<96xf32>, index) -> ()
    tile.store %16, %1, %5 {strides = [24, 1]} : (vector<4x24xf32>, memref<96xf32>, index) -> () loc("n")
  } loc("n")
// CHECK: tile.return : () -> ()
  tile.return : () -> () loc("n")
} loc("n")
