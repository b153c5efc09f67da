// RUN: penstock opt %s | filecheck %s

// Lane-by-lane ops: each reads back as it was written, parameters at their default left out.

// CHECK: tile.kernel @floats(%0: memref<64xf32>, %1: memref<64xf32>, %2: memref<64xf32>) units(%3, %4 of 1) {
tile.kernel @floats(%0: memref<64xf32>, %1: memref<64xf32>, %2: memref<64xf32>) units(%3, %4 of 1) {
// CHECK: %5 = tile.constant {value = 1 : index} : () -> index
  %5 = tile.constant {value = 1 : index} : () -> index loc("n")
// CHECK: %6 = tile.constant {value = 0 : index} : () -> index
  %6 = tile.constant {value = 0 : index} : () -> index loc("n")
// CHECK: scf.for %7 = %3 to %4 step %5 {
  scf.for %7 = %3 to %4 step %5 {
// CHECK: %8 = tile.load %0, %6 {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x16xf32>
    %8 = tile.load %0, %6 {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x16xf32> loc("n")
// CHECK: %9 = tile.load %1, %6 {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x16xf32>
    %9 = tile.load %1, %6 {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x16xf32> loc("n")
// CHECK: %10 = tile.neg %8 : (vector<4x16xf32>) -> vector<4x16xf32>
    %10 = tile.neg %8 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %11 = tile.abs %10 : (vector<4x16xf32>) -> vector<4x16xf32>
    %11 = tile.abs %10 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %12 = tile.sqrt %11 : (vector<4x16xf32>) -> vector<4x16xf32>
    %12 = tile.sqrt %11 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %13 = tile.exp %12 : (vector<4x16xf32>) -> vector<4x16xf32>
    %13 = tile.exp %12 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %14 = tile.log %13 : (vector<4x16xf32>) -> vector<4x16xf32>
    %14 = tile.log %13 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %15 = tile.erf %14 : (vector<4x16xf32>) -> vector<4x16xf32>
    %15 = tile.erf %14 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %16 = tile.tanh %15 : (vector<4x16xf32>) -> vector<4x16xf32>
    %16 = tile.tanh %15 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %17 = tile.sin %16 : (vector<4x16xf32>) -> vector<4x16xf32>
    %17 = tile.sin %16 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %18 = tile.cos %17 : (vector<4x16xf32>) -> vector<4x16xf32>
    %18 = tile.cos %17 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %19 = tile.floor %18 : (vector<4x16xf32>) -> vector<4x16xf32>
    %19 = tile.floor %18 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %20 = tile.ceil %19 : (vector<4x16xf32>) -> vector<4x16xf32>
    %20 = tile.ceil %19 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %21 = tile.round_even %20 : (vector<4x16xf32>) -> vector<4x16xf32>
    %21 = tile.round_even %20 : (vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %22 = tile.add %21, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %22 = tile.add %21, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %23 = tile.sub %22, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %23 = tile.sub %22, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %24 = tile.mul %23, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %24 = tile.mul %23, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %25 = tile.div %24, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %25 = tile.div %24, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %26 = tile.rem %25, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %26 = tile.rem %25, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %27 = tile.max %26, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %27 = tile.max %26, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %28 = tile.min %27, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %28 = tile.min %27, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %29 = tile.max_fast %28, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %29 = tile.max_fast %28, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %30 = tile.min_fast %29, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %30 = tile.min_fast %29, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %31 = tile.pow %30, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %31 = tile.pow %30, %9 : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %32 = tile.fma %31, %9, %31 : (vector<4x16xf32>, vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %32 = tile.fma %31, %9, %31 : (vector<4x16xf32>, vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %33 = tile.compare %32, %9 {predicate = "lt"} : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xi1>
    %33 = tile.compare %32, %9 {predicate = "lt"} : (vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xi1> loc("n")
// CHECK: %34 = tile.select %33, %32, %9 : (vector<4x16xi1>, vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32>
    %34 = tile.select %33, %32, %9 : (vector<4x16xi1>, vector<4x16xf32>, vector<4x16xf32>) -> vector<4x16xf32> loc("n")
// CHECK: %35 = tile.cast %34 : (vector<4x16xf32>) -> vector<4x16xf64>
    %35 = tile.cast %34 : (vector<4x16xf32>) -> vector<4x16xf64> loc("n")
// CHECK: %36 = tile.cast %35 : (vector<4x16xf64>) -> vector<4x16xf32>
    %36 = tile.cast %35 : (vector<4x16xf64>) -> vector<4x16xf32> loc("n")
// CHECK: tile.store %36, %2, %6 {strides = [16, 1]} : (vector<4x16xf32>, memref<64xf32>, index) -> ()
    tile.store %36, %2, %6 {strides = [16, 1]} : (vector<4x16xf32>, memref<64xf32>, index) -> () loc("n")
  } loc("n")
// CHECK: tile.return : () -> ()
  tile.return : () -> () loc("n")
} loc("n")

// CHECK: tile.kernel @integers(%0: memref<64xi32>, %1: memref<64xi32>, %2: memref<64xi32>) units(%3, %4 of 1) {
tile.kernel @integers(%0: memref<64xi32>, %1: memref<64xi32>, %2: memref<64xi32>) units(%3, %4 of 1) {
// CHECK: %5 = tile.constant {value = 1 : index} : () -> index
  %5 = tile.constant {value = 1 : index} : () -> index loc("n")
// CHECK: %6 = tile.constant {value = 0 : index} : () -> index
  %6 = tile.constant {value = 0 : index} : () -> index loc("n")
// CHECK: scf.for %7 = %3 to %4 step %5 {
  scf.for %7 = %3 to %4 step %5 {
// CHECK: %8 = tile.load %0, %6 {strides = [16, 1]} : (memref<64xi32>, index) -> vector<4x16xi32>
    %8 = tile.load %0, %6 {strides = [16, 1]} : (memref<64xi32>, index) -> vector<4x16xi32> loc("n")
// CHECK: %9 = tile.load %1, %6 {strides = [16, 1]} : (memref<64xi32>, index) -> vector<4x16xi32>
    %9 = tile.load %1, %6 {strides = [16, 1]} : (memref<64xi32>, index) -> vector<4x16xi32> loc("n")
// CHECK: %10 = tile.divu %8, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %10 = tile.divu %8, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %11 = tile.remu %10, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %11 = tile.remu %10, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %12 = tile.maxu %11, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %12 = tile.maxu %11, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %13 = tile.minu %12, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %13 = tile.minu %12, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %14 = tile.and_ %13, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %14 = tile.and_ %13, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %15 = tile.or_ %14, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %15 = tile.or_ %14, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %16 = tile.xor %15, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %16 = tile.xor %15, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %17 = tile.shl %16, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %17 = tile.shl %16, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %18 = tile.shr %17, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %18 = tile.shr %17, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %19 = tile.shru %18, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %19 = tile.shru %18, %9 : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %20 = tile.not_ %19 : (vector<4x16xi32>) -> vector<4x16xi32>
    %20 = tile.not_ %19 : (vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %21 = tile.compare %20, %9 {predicate = "geu"} : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi1>
    %21 = tile.compare %20, %9 {predicate = "geu"} : (vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi1> loc("n")
// CHECK: %22 = tile.not_ %21 : (vector<4x16xi1>) -> vector<4x16xi1>
    %22 = tile.not_ %21 : (vector<4x16xi1>) -> vector<4x16xi1> loc("n")
// CHECK: %23 = tile.cast %9 : (vector<4x16xi32>) -> vector<4x16xi8>
    %23 = tile.cast %9 : (vector<4x16xi32>) -> vector<4x16xi8> loc("n")
// CHECK: %24 = tile.cast %23 {mode = "unsigned"} : (vector<4x16xi8>) -> vector<4x16xi32>
    %24 = tile.cast %23 {mode = "unsigned"} : (vector<4x16xi8>) -> vector<4x16xi32> loc("n")
// CHECK: %25 = tile.select %22, %20, %24 : (vector<4x16xi1>, vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32>
    %25 = tile.select %22, %20, %24 : (vector<4x16xi1>, vector<4x16xi32>, vector<4x16xi32>) -> vector<4x16xi32> loc("n")
// CHECK: %26 = tile.cast %25 {mode = "bits"} : (vector<4x16xi32>) -> vector<4x16xf32>
    %26 = tile.cast %25 {mode = "bits"} : (vector<4x16xi32>) -> vector<4x16xf32> loc("n")
// CHECK: %27 = tile.cast %26 {mode = "bits"} : (vector<4x16xf32>) -> vector<4x16xi32>
    %27 = tile.cast %26 {mode = "bits"} : (vector<4x16xf32>) -> vector<4x16xi32> loc("n")
// CHECK: tile.store %27, %2, %6 {strides = [16, 1]} : (vector<4x16xi32>, memref<64xi32>, index) -> ()
    tile.store %27, %2, %6 {strides = [16, 1]} : (vector<4x16xi32>, memref<64xi32>, index) -> () loc("n")
  } loc("n")
// CHECK: tile.return : () -> ()
  tile.return : () -> () loc("n")
} loc("n")
