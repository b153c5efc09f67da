// RUN: penstock code %s --isa x86-64-v4 --form llvm | filecheck %s
// RUN: penstock code %s --isa x86-64-v3 --form llvm | filecheck %s --check-prefix V3
// RUN: penstock code %s --isa x86-64-v4 --form asm -k strided | filecheck %s --check-prefix ASM

// Contiguous lanes are vector loads of the machine's width with element alignment, and a narrower one for the rest;
// a dimension of stride 0 is one scalar, splatted once.
// CHECK-LABEL: define void @"strided"(ptr noundef %ctx, ptr noundef %buffers, i64 %begin, i64 %end)
// CHECK: load <16 x float>, ptr {{.*}}, align 4
// CHECK: load <4 x float>, ptr {{.*}}, align 4
// CHECK: load float, ptr {{.*}}, align 4
// CHECK: shufflevector <16 x float>
// CHECK: fmul <16 x float>
// CHECK: fmul <4 x float>
// CHECK-NOT: call
// V3-LABEL: define void @"strided"
// V3-COUNT-2: load <8 x float>, ptr {{.*}}, align 4
// V3: load <4 x float>, ptr {{.*}}, align 4
// V3: attributes #0 = { nounwind "target-cpu"="x86-64-v3"
// ASM-LABEL: strided:
// ASM: vbroadcastss {{.*}}(%rax), %zmm0
// ASM-NOT: call
tile.kernel @strided(%x: memref<64xf32>, %y: memref<20xf32>) units(%begin, %end of 1) {
  %c0 = tile.constant {value = 0 : index} : () -> index
  %row = tile.load %x, %c0 {strides = [1]} : (memref<64xf32>, index) -> vector<20xf32> loc("n")
  %one = tile.load %x, %c0 {strides = [0]} : (memref<64xf32>, index) -> vector<20xf32> loc("n")
  %product = tile.mul %row, %one : (vector<20xf32>, vector<20xf32>) -> vector<20xf32> loc("n")
  tile.store %product, %y, %c0 {strides = [1]} : (vector<20xf32>, memref<20xf32>, index) -> () loc("n")
  tile.return : () -> ()
} loc("n")

// Rows outside the static bounds cost nothing: one of three is loaded, the others are known to be the fill value, and a
// multiply-add leaves them out.
// CHECK-LABEL: define void @"bounds"
// CHECK-COUNT-1: load <16 x float>
// CHECK-NOT: load <16 x float>
// CHECK-COUNT-1: llvm.fma.v16f32
// CHECK-NOT: llvm.fma
// CHECK: }
tile.kernel @bounds(%x: memref<64xf32>, %y: memref<48xf32>) units(%begin, %end of 1) {
  %c0 = tile.constant {value = 0 : index} : () -> index
  %zero = tile.constant {value = 0.0 : f32} : () -> vector<3x16xf32>
  %two = tile.constant {value = 2.0 : f32} : () -> vector<1x16xf32>
  %rows = tile.load %x, %c0 {strides = [16, 1], lower = [1, 0], upper = [2, 16]} : (memref<64xf32>, index) -> vector<3x16xf32> loc("n")
  %sum = tile.fma %rows, %two, %zero : (vector<3x16xf32>, vector<1x16xf32>, vector<3x16xf32>) -> vector<3x16xf32> loc("n")
  tile.store %sum, %y, %c0 {strides = [16, 1]} : (vector<3x16xf32>, memref<48xf32>, index) -> () loc("n")
  tile.return : () -> ()
} loc("n")

// A run-time limit masks loads; stores have a version for whole vectors and one for the cut.
// CHECK-LABEL: define void @"limits"
// CHECK: %[[MASK:.*]] = icmp sgt <16 x i32>
// CHECK: call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %{{.*}}, <16 x i1> %[[MASK]], <16 x float> splat (float 0xFFF0000000000000))
// CHECK: br i1 {{.*}}, label %whole{{.*}}, label %cut
// CHECK: store <16 x float>
// CHECK: call void @llvm.masked.store.v16f32.p0
tile.kernel @limits(%x: memref<64xf32>, %y: memref<64xf32>) units(%begin, %end of 4) {
  %c0 = tile.constant {value = 0 : index} : () -> index
  %t = tile.load %x, %c0, %end {strides = [1], limited = [0], fill = 0xFFF0000000000000 : f64} : (memref<64xf32>, index, index) -> vector<16xf32> loc("n")
  tile.store %t, %y, %c0, %end {strides = [1], limited = [0]} : (vector<16xf32>, memref<64xf32>, index, index) -> () loc("n")
  tile.return : () -> ()
} loc("n")
