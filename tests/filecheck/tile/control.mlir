// RUN: penstock opt %s | filecheck %s

// A kernel with loops, branches and a while loop that carry tiles.

// CHECK: tile.kernel @control(%0: memref<160xf32>) units(%1, %2 of 10) {
tile.kernel @control(%0: memref<160xf32>) units(%1, %2 of 10) {
// CHECK: %3 = tile.constant {value = 1 : index} : () -> index
  %3 = tile.constant {value = 1 : index} : () -> index loc("n")
// CHECK: %4 = tile.constant {value = 0.000000e+00 : f32} : () -> vector<16xf32>
  %4 = tile.constant {value = 0.000000e+00 : f32} : () -> vector<16xf32> loc("n")
// CHECK: %5 = tile.constant {value = 0 : index} : () -> index
  %5 = tile.constant {value = 0 : index} : () -> index loc("n")
// CHECK: %6 = tile.constant {value = 2 : index} : () -> index
  %6 = tile.constant {value = 2 : index} : () -> index loc("n")
// CHECK: %7 = tile.constant {value = 4 : index} : () -> index
  %7 = tile.constant {value = 4 : index} : () -> index loc("n")
// CHECK: %8 = tile.constant {value = 1.000000e+00 : f32} : () -> f32
  %8 = tile.constant {value = 1.000000e+00 : f32} : () -> f32 loc("n")
// CHECK: %9 = tile.constant {value = 8.000000e+00 : f32} : () -> f32
  %9 = tile.constant {value = 8.000000e+00 : f32} : () -> f32 loc("n")
// CHECK: %10 = tile.constant {value = 2.000000e+00 : f32} : () -> f32
  %10 = tile.constant {value = 2.000000e+00 : f32} : () -> f32 loc("n")
// CHECK: %11 = tile.constant {value = 3 : index} : () -> index
  %11 = tile.constant {value = 3 : index} : () -> index loc("n")
// CHECK: %12 = tile.constant {value = 16 : index} : () -> index
  %12 = tile.constant {value = 16 : index} : () -> index loc("n")
// CHECK: scf.for %13 = %1 to %2 step %3 {
  scf.for %13 = %1 to %2 step %3 {
// CHECK: %14 = scf.for %15 = %5 to %13 step %6 iter_args(%16 = %4) -> (vector<16xf32>) {
    %14 = scf.for %15 = %5 to %13 step %6 iter_args(%16 = %4) -> (vector<16xf32>) {
// CHECK: %17 = tile.remu %15, %7 : (index, index) -> index
      %17 = tile.remu %15, %7 : (index, index) -> index loc("n")
// CHECK: %18 = tile.compare %17, %5 {predicate = "eq"} : (index, index) -> i1
      %18 = tile.compare %17, %5 {predicate = "eq"} : (index, index) -> i1 loc("n")
// CHECK: %19 = scf.if %18 -> (vector<16xf32>) {
      %19 = scf.if %18 -> (vector<16xf32>) {
// CHECK: %20 = tile.add %16, %8 : (vector<16xf32>, f32) -> vector<16xf32>
        %20 = tile.add %16, %8 : (vector<16xf32>, f32) -> vector<16xf32> loc("n")
// CHECK: scf.yield %20 : vector<16xf32>
        scf.yield %20 : vector<16xf32> loc("n")
      } else {
// CHECK: scf.yield %16 : vector<16xf32>
        scf.yield %16 : vector<16xf32> loc("n")
      } loc("n")
// CHECK: scf.yield %19 : vector<16xf32>
      scf.yield %19 : vector<16xf32> loc("n")
    } loc("n")
// CHECK: %21 = scf.while (%22 = %14) : (vector<16xf32>) -> (vector<16xf32>) {
    %21 = scf.while (%22 = %14) : (vector<16xf32>) -> (vector<16xf32>) {
// CHECK: %23 = tile.extract %22 {position = [0]} : (vector<16xf32>) -> f32
      %23 = tile.extract %22 {position = [0]} : (vector<16xf32>) -> f32 loc("n")
// CHECK: %24 = tile.compare %23, %9 {predicate = "lt"} : (f32, f32) -> i1
      %24 = tile.compare %23, %9 {predicate = "lt"} : (f32, f32) -> i1 loc("n")
// CHECK: scf.condition(%24) %22 : vector<16xf32>
      scf.condition(%24) %22 : vector<16xf32>
    } do {
    ^bb0(%25: vector<16xf32>):
// CHECK: %26 = tile.add %25, %10 : (vector<16xf32>, f32) -> vector<16xf32>
      %26 = tile.add %25, %10 : (vector<16xf32>, f32) -> vector<16xf32> loc("n")
// CHECK: scf.yield %26 : vector<16xf32>
      scf.yield %26 : vector<16xf32> loc("n")
    } loc("n")
// CHECK: %27 = tile.compare %13, %11 {predicate = "gt"} : (index, index) -> i1
    %27 = tile.compare %13, %11 {predicate = "gt"} : (index, index) -> i1 loc("n")
// CHECK: scf.if %27 {
    scf.if %27 {
// CHECK: %28 = tile.mul %13, %12 : (index, index) -> index
      %28 = tile.mul %13, %12 : (index, index) -> index loc("n")
// CHECK: tile.store %21, %0, %28 {strides = [1]} : (vector<16xf32>, memref<160xf32>, index) -> ()
      tile.store %21, %0, %28 {strides = [1]} : (vector<16xf32>, memref<160xf32>, index) -> () loc("n")
    } loc("n")
  } loc("n")
// CHECK: tile.return : () -> ()
  tile.return : () -> () loc("n")
} loc("n")
