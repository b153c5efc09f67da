// RUN: penstock code %s --isa x86-64-v4-bf16 --form llvm | filecheck %s
// RUN: penstock code %s --isa x86-64-v4-bf16 --form asm | filecheck %s --check-prefix ASM
// RUN: penstock code %s --isa x86-64-v4 --form llvm | filecheck %s --check-prefix V4

// Words of two bf16 are loaded as they lie. Where there is an instruction for their dot product it is used; elsewhere the
// upper halves are multiplied and added first, then the lower.
// CHECK-LABEL: define void @"pairs"
// CHECK: load <16 x i32>
// CHECK: call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> {{.*}}, <32 x bfloat> {{.*}}, <32 x bfloat> {{.*}})
// CHECK: attributes #0 = { nounwind "target-cpu"="x86-64-v4" "target-features"="+avx512bf16" "no-builtins" }
// ASM: vdpbf16ps (%{{.*}}), %zmm0, %zmm1
// V4-LABEL: define void @"pairs"
// V4-COUNT-2: and {{.*}}65536
// V4: call <16 x float> @llvm.fma.v16f32
// V4-COUNT-2: shl {{.*}} 16
// V4: call <16 x float> @llvm.fma.v16f32
// V4-NOT: bfloat
tile.kernel @pairs(%x: memref<2xbf16>, %y: memref<32xbf16>, %z: memref<16xf32>) units(%begin, %end of 1) {
  %c0 = tile.constant {value = 0 : index} : () -> index
  %xw = tile.words %x : (memref<2xbf16>) -> memref<1xi32> loc("n")
  %yw = tile.words %y : (memref<32xbf16>) -> memref<16xi32> loc("n")
  %a = tile.load %xw, %c0 {strides = [0]} : (memref<1xi32>, index) -> vector<16xi32> loc("n")
  %b = tile.load %yw, %c0 {strides = [1]} : (memref<16xi32>, index) -> vector<16xi32> loc("n")
  %zero = tile.constant {value = 0.0 : f32} : () -> vector<16xf32>
  %d = tile.dot_pairs %a, %b, %zero : (vector<16xi32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32> loc("n")
  tile.store %d, %z, %c0 {strides = [1]} : (vector<16xf32>, memref<16xf32>, index) -> () loc("n")
  tile.return : () -> ()
} loc("n")
