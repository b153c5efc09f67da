// RUN: penstock code %s --isa x86-64-v4 --form llvm | filecheck %s
// RUN: penstock code %s --isa x86-64-v4 | filecheck %s --check-prefix ASM
// RUN: penstock code %s --isa x86-64-v4 --list | filecheck %s --check-prefix LIST

// A loop is one block that tests at its end; carried tiles are one phi a machine vector. Addresses: what is invariant
// is added up before the loop; A is indexed, B is a pointer that moves by a panel's row.
// CHECK-LABEL: define void @"gemm"
// CHECK: loop[[LOOP:[0-9]+]]:
// CHECK-NEXT: = phi i64 [ 0, %entry ]
// CHECK-COUNT-12: = phi <16 x float> [ splat (float 0x0000000000000000), %entry ]
// CHECK-NEXT: = phi ptr
// CHECK-NEXT: getelementptr [4 x i8], ptr
// CHECK-COUNT-6: load float
// CHECK-COUNT-2: load <16 x float>
// CHECK-COUNT-12: llvm.fma.v16f32
// CHECK: br i1 %{{.*}}, label %loop[[LOOP]], label %done
// In the assembly: no spill, B read once, the element of A broadcast.
// ASM-LABEL: gemm:
// ASM: .LBB0_1:
// ASM-NOT: rsp
// ASM-COUNT-12: vfmadd231ps
// ASM-NOT: rsp
// ASM: jl .LBB0_1
// LIST: gemm {{ *}} x86-64-v4 {{.*}} bytes of code {{ *}}0 of scratch
tile.kernel @gemm(%a: memref<1536xf32>, %b: memref<8192xf32>, %c: memref<192xf32>) units(%begin, %end of 1) {
  %c0 = tile.constant {value = 0 : index} : () -> index
  %c1 = tile.constant {value = 1 : index} : () -> index
  %c32 = tile.constant {value = 32 : index} : () -> index
  %c256 = tile.constant {value = 256 : index} : () -> index
  %zero = tile.constant {value = 0.0 : f32} : () -> vector<6x32xf32>
  %sum = scf.for %k = %c0 to %c256 step %c1 iter_args(%total = %zero) -> (vector<6x32xf32>) {
    %column = tile.load %a, %k {strides = [256, 0]} : (memref<1536xf32>, index) -> vector<6x1xf32> loc("n")
    %at = tile.mul %k, %c32 : (index, index) -> index loc("n")
    %row = tile.load %b, %at {strides = [0, 1]} : (memref<8192xf32>, index) -> vector<1x32xf32> loc("n")
    %next = tile.fma %column, %row, %total : (vector<6x1xf32>, vector<1x32xf32>, vector<6x32xf32>) -> vector<6x32xf32> loc("n")
    scf.yield %next : vector<6x32xf32>
  } loc("n")
  tile.store %sum, %c, %c0 {strides = [32, 1]} : (vector<6x32xf32>, memref<192xf32>, index) -> () loc("n")
  tile.return : () -> ()
} loc("n")
