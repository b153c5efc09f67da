// RUN: penstock opt -p form-dispatches %s | filecheck %s

builtin.module {
  // The root takes the bias and the activation that follow it; the small constant is copied in, the stored one is an
  // operand.
  // CHECK-LABEL: func.func @epilogue(
  // CHECK-NEXT: graph.dispatch "contraction" @fc(%{{.*}} = %{{.*}} : tensor<8x16xf32>, %{{.*}} = %{{.*}} : tensor<16x32xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  // CHECK-NEXT: graph.constant {value = dense<2.000000e+00> : tensor<f32>} : () -> tensor<f32>
  // CHECK-NEXT: graph.add %{{.*}}, %{{.*}} : (tensor<8x32xf32>, tensor<f32>) -> tensor<8x32xf32>
  // CHECK-NEXT: graph.relu %{{.*}} : (tensor<8x32xf32>) -> tensor<8x32xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}
  func.func @epilogue(%x : tensor<8x16xf32>, %w : tensor<16x32xf32>) -> tensor<8x32xf32> {
    %b = graph.constant {value = dense<2.0> : tensor<f32>} : () -> tensor<f32> loc("b")
    %p = graph.matmul %x, %w : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32> loc("fc")
    %a = graph.add %p, %b : (tensor<8x32xf32>, tensor<f32>) -> tensor<8x32xf32> loc("bias")
    %y = graph.relu %a : (tensor<8x32xf32>) -> tensor<8x32xf32> loc("relu")
    func.return %y : tensor<8x32xf32>
  }

  // Elementwise ops without a root are one map; a view among them costs nothing.
  // CHECK-LABEL: func.func @map(
  // CHECK-NEXT: graph.dispatch "map" @neg(%{{.*}} = %{{.*}} : tensor<4x6xf32>) {
  // CHECK-NEXT: graph.exp %{{.*}} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  // CHECK-NEXT: graph.transpose %{{.*}} {permutation = [1, 0]} : (tensor<4x6xf32>) -> tensor<6x4xf32>
  // CHECK-NEXT: graph.neg %{{.*}} : (tensor<6x4xf32>) -> tensor<6x4xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}
  func.func @map(%x : tensor<4x6xf32>) -> tensor<6x4xf32> {
    %e = graph.exp %x : (tensor<4x6xf32>) -> tensor<4x6xf32> loc("exp")
    %t = graph.transpose %e {permutation = [1, 0]} : (tensor<4x6xf32>) -> tensor<6x4xf32> loc("turn")
    %y = graph.neg %t : (tensor<6x4xf32>) -> tensor<6x4xf32> loc("neg")
    func.return %y : tensor<6x4xf32>
  }

  // A value with two users is computed once, in a dispatch of its own.
  // CHECK-LABEL: func.func @shared(
  // CHECK-NEXT: graph.dispatch "map" @exp(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.exp %{{.*}} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "reduction" @sum(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.reduce %{{.*}} {kind = "sum", axes = [1]} : (tensor<8x16xf32>) -> tensor<8xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "reduction" @max(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.reduce %{{.*}} {kind = "max", axes = [1]} : (tensor<8x16xf32>) -> tensor<8xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}, %{{.*}}
  func.func @shared(%x : tensor<8x16xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
    %e = graph.exp %x : (tensor<8x16xf32>) -> tensor<8x16xf32> loc("exp")
    %s = graph.reduce %e {kind = "sum", axes = [1]} : (tensor<8x16xf32>) -> tensor<8xf32> loc("sum")
    %m = graph.reduce %e {kind = "max", axes = [1]} : (tensor<8x16xf32>) -> tensor<8xf32> loc("max")
    func.return %s, %m : tensor<8xf32>, tensor<8xf32>
  }

  // A product reads its operands many times: what feeds it is not computed inside, what follows two of them is not
  // taken by both.
  // CHECK-LABEL: func.func @roots(
  // CHECK-NEXT: graph.dispatch "map" @exp(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.exp %{{.*}} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "contraction" @fc1(%{{.*}} = %{{.*}} : tensor<8x16xf32>, %{{.*}} = %{{.*}} : tensor<16x32xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "contraction" @fc2(%{{.*}} = %{{.*}} : tensor<8x32xf32>, %{{.*}} = %{{.*}} : tensor<32x4xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x32xf32>, tensor<32x4xf32>) -> tensor<8x4xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}
  func.func @roots(%x : tensor<8x16xf32>, %w : tensor<16x32xf32>, %v : tensor<32x4xf32>) -> tensor<8x4xf32> {
    %e = graph.exp %x : (tensor<8x16xf32>) -> tensor<8x16xf32> loc("exp")
    %p = graph.matmul %e, %w : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32> loc("fc1")
    %y = graph.matmul %p, %v : (tensor<8x32xf32>, tensor<32x4xf32>) -> tensor<8x4xf32> loc("fc2")
    func.return %y : tensor<8x4xf32>
  }

  // A check stays outside: it is a command, not a kernel.
  // CHECK-LABEL: func.func @checked(
  // CHECK-NEXT: graph.dispatch "map" @four(%{{.*}} = %{{.*}} : tensor<i64>) {
  // CHECK-NEXT: graph.constant {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  // CHECK-NEXT: graph.eq %{{.*}}, %{{.*}} : (tensor<i64>, tensor<i64>) -> tensor<i1>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.checked %{{.*}}, %{{.*}} {message = "it is not four"} : (tensor<4xf32>, tensor<i1>) -> tensor<4xf32>
  // CHECK-NEXT: graph.dispatch "map" @neg(%{{.*}} = %{{.*}} : tensor<4xf32>) {
  // CHECK-NEXT: graph.neg %{{.*}} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}
  func.func @checked(%x : tensor<4xf32>, %n : tensor<i64>) -> tensor<4xf32> {
    %c = graph.constant {value = dense<4> : tensor<i64>} : () -> tensor<i64> loc("four")
    %h = graph.eq %n, %c : (tensor<i64>, tensor<i64>) -> tensor<i1> loc("four")
    %k = graph.checked %x, %h {message = "it is not four"} : (tensor<4xf32>, tensor<i1>) -> tensor<4xf32> loc("four")
    %y = graph.neg %k : (tensor<4xf32>) -> tensor<4xf32> loc("neg")
    func.return %y : tensor<4xf32>
  }

  // Nothing to compute: no dispatch.
  // CHECK-LABEL: func.func @nothing(
  // CHECK-NEXT: func.return %{{.*}}
  func.func @nothing(%x : tensor<4xf32>) -> tensor<4xf32> {
    func.return %x : tensor<4xf32>
  }
}
