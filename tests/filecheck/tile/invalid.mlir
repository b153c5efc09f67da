// RUN: not penstock opt --split-input-file %s | filecheck %s

// What the dialect refuses, in one sentence each.

// CHECK: error: {{.*}}tile.load moves tiles of the buffer's element type at an index offset
tile.kernel @element(%x: memref<64xf32>) units(%begin, %end of 1) {
  %t = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf64> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.load needs one stride per tile dimension and one limit per limited dimension
tile.kernel @strides(%x: memref<64xf32>) units(%begin, %end of 1) {
  %t = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<4x16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.load has bounds for all dimensions or none
tile.kernel @bounds(%x: memref<64xf32>) units(%begin, %end of 1) {
  %t = tile.load %x, %begin {strides = [16, 1], lower = [1]} : (memref<64xf32>, index) -> vector<4x16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tiles (4, 16) and (4, 8) do not broadcast
tile.kernel @broadcast(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x16xf32> loc("n")
  %b = tile.load %x, %begin {strides = [16, 1]} : (memref<64xf32>, index) -> vector<4x8xf32> loc("n")
  %c = tile.add %a, %b : (vector<4x16xf32>, vector<4x8xf32>) -> vector<4x16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.add must have type vector<16xf32>
tile.kernel @result(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.add %a, %a : (vector<16xf32>, vector<16xf32>) -> vector<8xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.select takes a mask and two operands of one element type
tile.kernel @mask(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.select %a, %a, %a : (vector<16xf32>, vector<16xf32>, vector<16xf32>) -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}parameter predicate has an unfit value "more"
tile.kernel @predicate(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.compare %a, %a {predicate = "more"} : (vector<16xf32>, vector<16xf32>) -> vector<16xi1> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.reshape keeps the number of lanes and their type
tile.kernel @reshape(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.reshape %a : (vector<16xf32>) -> vector<3x5xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.and_ takes integer operands, not f32
tile.kernel @kinds(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.and_ %a, %a : (vector<16xf32>, vector<16xf32>) -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.mul takes numbers of one element type
tile.kernel @types(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %i = tile.mul %a, %begin : (vector<16xf32>, index) -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.gather takes indices of type index and a mask of their shape
tile.kernel @indices(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.gather %x, %a : (memref<64xf32>, vector<16xf32>) -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.broadcast repeats dimensions of 1: (16,) does not become (32,)
tile.kernel @repeat(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.broadcast %a : (vector<16xf32>) -> vector<32xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.extract has no lane (16,) in a tile of (16,)
tile.kernel @lane(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.extract %a {position = [16]} : (vector<16xf32>) -> f32 loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.reduce has no dimensions (1,) in a tile of (16,)
tile.kernel @dims(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.reduce %a {kind = "add", dims = [1]} : (vector<16xf32>) -> vector<1xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.transpose takes a tile of two dimensions or more
tile.kernel @flip(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.transpose %a : (vector<16xf32>) -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.cast reinterprets lanes of equal width only
tile.kernel @width(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.cast %a {mode = "bits"} : (vector<16xf32>) -> vector<16xi64> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}tile.iota gives a tile of type index
tile.kernel @numbers(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.iota : () -> vector<16xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}expected a flat buffer, found memref<4x4xf32>
tile.kernel @flat(%x: memref<64xf32>) units(%begin, %end of 1) {
  %a = tile.load %x, %begin {strides = [1]} : (memref<64xf32>, index) -> vector<16xf32> loc("n")
  %c = tile.alloc : () -> memref<4x4xf32> loc("n")
  tile.return : () -> ()
} loc("n")

// -----
// CHECK: error: {{.*}}a kernel of 1 buffers cannot write 2 of them
tile.kernel @outputs(%x: memref<64xf32>) units(%begin, %end of 1) attributes {outputs = 2 : i64} {
  tile.return : () -> ()
} loc("n")
