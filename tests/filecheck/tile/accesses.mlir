// RUN: penstock opt %s | filecheck %s

// Loads, stores, gathers, scatters, scratch memory and hints, with strides, bounds and limits.

// CHECK: tile.kernel @accesses(%0: memref<1000xf32>, %1: memref<100xi1>, %2: memref<1000xf32>) units(%3, %4 of 10) attributes {unit_cost = 1.250000e+01 : f64} {
tile.kernel @accesses(%0: memref<1000xf32>, %1: memref<100xi1>, %2: memref<1000xf32>) units(%3, %4 of 10) attributes {unit_cost = 1.250000e+01 : f64} {
// CHECK: %5 = tile.constant {value = 1 : index} : () -> index
  %5 = tile.constant {value = 1 : index} : () -> index loc("n")
// CHECK: %6 = tile.constant {value = 100 : index} : () -> index
  %6 = tile.constant {value = 100 : index} : () -> index loc("n")
// CHECK: %7 = tile.constant {value = 1000 : index} : () -> index
  %7 = tile.constant {value = 1000 : index} : () -> index loc("n")
// CHECK: %8 = tile.constant {value = 0 : index} : () -> index
  %8 = tile.constant {value = 0 : index} : () -> index loc("n")
// CHECK: %9 = tile.alloc : () -> memref<96xf32>
  %9 = tile.alloc : () -> memref<96xf32> loc("n")
// CHECK: scf.for %10 = %3 to %4 step %5 {
  scf.for %10 = %3 to %4 step %5 {
// CHECK: %11 = tile.mul %10, %6 : (index, index) -> index
    %11 = tile.mul %10, %6 : (index, index) -> index loc("n")
// CHECK: %12 = tile.sub %7, %11 : (index, index) -> index
    %12 = tile.sub %7, %11 : (index, index) -> index loc("n")
// CHECK: %13 = tile.load %0, %11, %12 {strides = [0, -1], lower = [1, 0], upper = [4, 20], limited = [1], fill = 0xfff0000000000000 : f64} : (memref<1000xf32>, index, index) -> vector<4x24xf32>
    %13 = tile.load %0, %11, %12 {strides = [0, -1], lower = [1, 0], upper = [4, 20], limited = [1], fill = 0xfff0000000000000 : f64} : (memref<1000xf32>, index, index) -> vector<4x24xf32> loc("n")
// CHECK: %14 = tile.load %1, %8 {strides = [24, 1]} : (memref<100xi1>, index) -> vector<4x24xi1>
    %14 = tile.load %1, %8 {strides = [24, 1]} : (memref<100xi1>, index) -> vector<4x24xi1> loc("n")
// CHECK: %15 = tile.load %0, %10 {strides = []} : (memref<1000xf32>, index) -> f32
    %15 = tile.load %0, %10 {strides = []} : (memref<1000xf32>, index) -> f32 loc("n")
// CHECK: %16 = tile.iota : () -> vector<4x24xindex>
    %16 = tile.iota : () -> vector<4x24xindex> loc("n")
// CHECK: %17 = tile.gather %0, %16, %14 {fill = 2.0} : (memref<1000xf32>, vector<4x24xindex>, vector<4x24xi1>) -> vector<4x24xf32>
    %17 = tile.gather %0, %16, %14 {fill = 2.0} : (memref<1000xf32>, vector<4x24xindex>, vector<4x24xi1>) -> vector<4x24xf32> loc("n")
// CHECK: %18 = tile.gather %0, %16 : (memref<1000xf32>, vector<4x24xindex>) -> vector<4x24xf32>
    %18 = tile.gather %0, %16 : (memref<1000xf32>, vector<4x24xindex>) -> vector<4x24xf32> loc("n")
// CHECK: %19 = tile.add %17, %18 : (vector<4x24xf32>, vector<4x24xf32>) -> vector<4x24xf32>
    %19 = tile.add %17, %18 : (vector<4x24xf32>, vector<4x24xf32>) -> vector<4x24xf32> loc("n")
// CHECK: tile.store %19, %9, %8 {strides = [24, 1]} : (vector<4x24xf32>, memref<96xf32>, index) -> ()
    tile.store %19, %9, %8 {strides = [24, 1]} : (vector<4x24xf32>, memref<96xf32>, index) -> () loc("n")
// CHECK: tile.prefetch %0, %11 {locality = 2} : (memref<1000xf32>, index) -> ()
    tile.prefetch %0, %11 {locality = 2} : (memref<1000xf32>, index) -> () loc("n")
// CHECK: %20 = tile.load %9, %8 {strides = [24, 1]} : (memref<96xf32>, index) -> vector<4x24xf32>
    %20 = tile.load %9, %8 {strides = [24, 1]} : (memref<96xf32>, index) -> vector<4x24xf32> loc("n")
// CHECK: tile.scatter %20, %2, %16, %14 : (vector<4x24xf32>, memref<1000xf32>, vector<4x24xindex>, vector<4x24xi1>) -> ()
    tile.scatter %20, %2, %16, %14 : (vector<4x24xf32>, memref<1000xf32>, vector<4x24xindex>, vector<4x24xi1>) -> () loc("n")
// CHECK: tile.scatter %13, %2, %16 : (vector<4x24xf32>, memref<1000xf32>, vector<4x24xindex>) -> ()
    tile.scatter %13, %2, %16 : (vector<4x24xf32>, memref<1000xf32>, vector<4x24xindex>) -> () loc("n")
// CHECK: %21 = tile.mul %13, %15 : (vector<4x24xf32>, f32) -> vector<4x24xf32>
    %21 = tile.mul %13, %15 : (vector<4x24xf32>, f32) -> vector<4x24xf32> loc("n")
// CHECK: tile.store %21, %2, %11, %10 {strides = [24, 1], upper = [2, 24], limited = [0]} : (vector<4x24xf32>, memref<1000xf32>, index, index) -> ()
    tile.store %21, %2, %11, %10 {strides = [24, 1], upper = [2, 24], limited = [0]} : (vector<4x24xf32>, memref<1000xf32>, index, index) -> () loc("n")
  } loc("n")
// CHECK: tile.return : () -> ()
  tile.return : () -> () loc("n")
} loc("n")
