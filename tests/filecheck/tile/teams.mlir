// RUN: penstock opt %s | penstock opt - | filecheck %s

// A kernel of two phases: each thread takes units until all have been run; what they wrote to shared scratch is then
// there for all threads.
// CHECK: tile.kernel @twice(%{{.*}}: memref<8xf32>, %{{.*}}: memref<8xf32>) units(%{{.*}}, %{{.*}} of 2) attributes {team = 1
// CHECK: tile.alloc {shared = 1
// CHECK: tile.take : () -> index
// CHECK: scf.while
// CHECK: tile.take : () -> index
// CHECK: tile.take : () -> index
// CHECK: scf.while
tile.kernel @twice(%x: memref<8xf32>, %y: memref<8xf32>) units(%begin, %end of 2) attributes {team = 1} {
  %zero = tile.constant {value = 0 : index} : () -> index
  %width = tile.constant {value = 4 : index} : () -> index
  %kept = tile.alloc {shared = 1} : () -> memref<8xf32>
  %first = tile.take : () -> index
  %done = scf.while (%unit = %first) : (index) -> index {
    %more = tile.compare %unit, %zero {predicate = "ge"} : (index, index) -> i1
    scf.condition(%more) %unit : index
  } do {
  ^bb0(%unit: index):
    %at = tile.mul %unit, %width : (index, index) -> index
    %tile = tile.load %x, %at {strides = [1]} : (memref<8xf32>, index) -> vector<4xf32>
    tile.store %tile, %kept, %at {strides = [1]} : (vector<4xf32>, memref<8xf32>, index) -> ()
    %next = tile.take : () -> index
    scf.yield %next : index
  }
  %second = tile.take : () -> index
  %end2 = scf.while (%unit = %second) : (index) -> index {
    %more = tile.compare %unit, %zero {predicate = "ge"} : (index, index) -> i1
    scf.condition(%more) %unit : index
  } do {
  ^bb0(%unit: index):
    %one = tile.constant {value = 1 : index} : () -> index
    %other = tile.sub %one, %unit : (index, index) -> index
    %from = tile.mul %other, %width : (index, index) -> index
    %tile = tile.load %kept, %from {strides = [1]} : (memref<8xf32>, index) -> vector<4xf32>
    %at = tile.mul %unit, %width : (index, index) -> index
    tile.store %tile, %y, %at {strides = [1]} : (vector<4xf32>, memref<8xf32>, index) -> ()
    %next = tile.take : () -> index
    scf.yield %next : index
  }
  tile.return : () -> ()
}
