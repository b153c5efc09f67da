// RUN: penstock opt -p 'pack-weights,share-tables{least=1},compress-weights{many-bytes=1 least=1},dce' %s | filecheck %s
// RUN: penstock opt -p 'pack-weights,compress-weights{least=1}' %s | filecheck %s --check-prefix FEW

// Fewer weights than a run reads from memory stay as they are.
// FEW-NOT: graph.decompress
builtin.module {
  // The product reads words, and so does the gather from the same panels: the words are stored once.
  // CHECK-LABEL: func.func @tied(
  // CHECK-NEXT: %[[W:.*]] = graph.constant {key = "[[KEY:constant#[0-9a-f]+]]"} : () -> tensor<5x1x1x7x16xi32>
  // CHECK-NEXT: %[[E:.*]] = graph.constant {value = dense<0> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  // CHECK-NEXT: %[[D:.*]] = graph.constant
  // CHECK-SAME: -> tensor<6x2xi32>
  // CHECK-NEXT: %[[V:.*]] = graph.decompress %[[W]], %[[E]], %[[D]] : (tensor<5x1x1x7x16xi32>, tensor<1x2xi32>, tensor<6x2xi32>) -> tensor<5x8x16xf32>
  // CHECK-NEXT: graph.transpose %[[V]] {permutation = [0, 2, 1]}
  // CHECK: graph.gather
  // CHECK: graph.constant {key = "[[KEY]]"}
  // CHECK: %[[B:.*]] = graph.decompress
  // CHECK-NEXT: graph.matmul %x, %[[B]] {b_panel = 16, n = 66} : (tensor<1x8xf32>, tensor<5x8x16xf32>) -> tensor<1x66xf32>
  func.func @tied(%i : tensor<1xi64>, %x : tensor<1x8xf32>) -> (tensor<1x8xf32>, tensor<1x66xf32>) {
    %t = graph.constant {value = dense<2.5> : tensor<66x8xf32>} : () -> tensor<66x8xf32> loc("t")
    %z = graph.gather %t, %i : (tensor<66x8xf32>, tensor<1xi64>) -> tensor<1x8xf32> loc("rows")
    %w = graph.constant {value = dense<2.5> : tensor<8x66xf32>} : () -> tensor<8x66xf32> loc("w")
    %y = graph.matmul %x, %w : (tensor<1x8xf32>, tensor<8x66xf32>) -> tensor<1x66xf32> loc("fc")
    func.return %z, %y : tensor<1x8xf32>, tensor<1x66xf32>
  }

  // Many rows, an inner extent that is no multiple of 8, rows of a number that only a run knows, and weights of zero,
  // which are exceptions all: they stay.
  // CHECK-LABEL: func.func @others(
  // CHECK-NOT: graph.decompress
  // CHECK: func.return
  func.func @others(%x : tensor<5x8xf32>, %z : tensor<1x9xf32>, %s : tensor<?x8xf32, ["batch"]>, %v : tensor<1x8xf32>) -> (tensor<5x16xf32>, tensor<1x16xf32>, tensor<?x32xf32, ["batch"]>, tensor<1x16xf32>) {
    %w0 = graph.constant {value = dense<2.5> : tensor<8x16xf32>} : () -> tensor<8x16xf32> loc("w0")
    %w1 = graph.constant {value = dense<2.5> : tensor<9x16xf32>} : () -> tensor<9x16xf32> loc("w1")
    %w2 = graph.constant {value = dense<2.5> : tensor<8x32xf32>} : () -> tensor<8x32xf32> loc("w2")
    %w3 = graph.constant {value = dense<0.0> : tensor<8x16xf32>} : () -> tensor<8x16xf32> loc("w3")
    %y0 = graph.matmul %x, %w0 : (tensor<5x8xf32>, tensor<8x16xf32>) -> tensor<5x16xf32> loc("fc0")
    %y1 = graph.matmul %z, %w1 : (tensor<1x9xf32>, tensor<9x16xf32>) -> tensor<1x16xf32> loc("fc1")
    %y2 = graph.matmul %s, %w2 : (tensor<?x8xf32, ["batch"]>, tensor<8x32xf32>) -> tensor<?x32xf32, ["batch"]> loc("fc2")
    %y3 = graph.matmul %v, %w3 : (tensor<1x8xf32>, tensor<8x16xf32>) -> tensor<1x16xf32> loc("fc3")
    func.return %y0, %y1, %y2, %y3 : tensor<5x16xf32>, tensor<1x16xf32>, tensor<?x32xf32, ["batch"]>, tensor<1x16xf32>
  }
}
