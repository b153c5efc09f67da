// RUN: penstock opt -p sink-transposes %s | filecheck %s

builtin.module {
  // A pair of inverse transposes meets and vanishes; the scale between them is turned instead.
  // CHECK-LABEL: func.func @meet(
  // CHECK-NEXT: %[[V0:.*]] = graph.reshape %s : (tensor<3x1x1xf32>) -> tensor<1x3x1x1xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.reshape %[[V0]] : (tensor<1x3x1x1xf32>) -> tensor<1x1x1x3xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.mul %x, %[[V1]] : (tensor<1x4x5x3xf32>, tensor<1x1x1x3xf32>) -> tensor<1x4x5x3xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.relu %[[V2]] : (tensor<1x4x5x3xf32>) -> tensor<1x4x5x3xf32>
  // CHECK-NEXT: func.return %[[V3]]
  func.func @meet(%x : tensor<1x4x5x3xf32>, %s : tensor<3x1x1xf32>) -> tensor<1x4x5x3xf32> {
    %t = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("first")
    %a = graph.mul %t, %s : (tensor<1x3x4x5xf32>, tensor<3x1x1xf32>) -> tensor<1x3x4x5xf32> loc("scale")
    %r = graph.relu %a : (tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32> loc("relu")
    %u = graph.transpose %r {permutation = [0, 2, 3, 1]} : (tensor<1x3x4x5xf32>) -> tensor<1x4x5x3xf32> loc("second")
    func.return %u : tensor<1x4x5x3xf32>
  }

  // Both branches of a residual are transposed alike, so the sum is; each of its uses gets a transpose of its own.
  // CHECK-LABEL: func.func @residual(
  // CHECK-NEXT: %[[V0:.*]] = graph.add %x, %z : (tensor<1x4x5x3xf32>, tensor<1x4x5x3xf32>) -> tensor<1x4x5x3xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %[[V0]] {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.relu %[[V0]] : (tensor<1x4x5x3xf32>) -> tensor<1x4x5x3xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.transpose %[[V2]] {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32>
  // CHECK-NEXT: func.return %[[V1]], %[[V3]]
  func.func @residual(%x : tensor<1x4x5x3xf32>, %z : tensor<1x4x5x3xf32>) -> (tensor<1x3x4x5xf32>, tensor<1x3x4x5xf32>) {
    %t = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("left")
    %u = graph.transpose %z {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("right")
    %a = graph.add %t, %u : (tensor<1x3x4x5xf32>, tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32> loc("add")
    %r = graph.relu %a : (tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32> loc("relu")
    func.return %a, %r : tensor<1x3x4x5xf32>, tensor<1x3x4x5xf32>
  }

  // A reduction over the moved axes reads them where they were; nothing is left to transpose.
  // CHECK-LABEL: func.func @reduce(
  // CHECK-NEXT: %[[V0:.*]] = graph.reduce %x {kind = "sum", axes = [1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3xf32>
  // CHECK-NEXT: func.return %[[V0]]
  func.func @reduce(%x : tensor<1x4x5x3xf32>) -> tensor<1x3xf32> {
    %t = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("move")
    %a = graph.reduce %t {kind = "sum", axes = [2, 3], keepdims = false} : (tensor<1x3x4x5xf32>) -> tensor<1x3xf32> loc("pool")
    func.return %a : tensor<1x3xf32>
  }

  // Joined channels are joined along the axis they had before.
  // CHECK-LABEL: func.func @join(
  // CHECK-NEXT: %[[V0:.*]] = graph.concat %x, %z {axis = 3} : (tensor<1x4x5x3xf32>, tensor<1x4x5x2xf32>) -> tensor<1x4x5x5xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %[[V0]] {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x5xf32>) -> tensor<1x5x4x5xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @join(%x : tensor<1x4x5x3xf32>, %z : tensor<1x4x5x2xf32>) -> tensor<1x5x4x5xf32> {
    %t = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("left")
    %u = graph.transpose %z {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x2xf32>) -> tensor<1x2x4x5xf32> loc("right")
    %a = graph.concat %t, %u {axis = 1} : (tensor<1x3x4x5xf32>, tensor<1x2x4x5xf32>) -> tensor<1x5x4x5xf32> loc("join")
    func.return %a : tensor<1x5x4x5xf32>
  }

  // An operand as large as the result would have to be transposed instead: nothing is gained.
  // CHECK-LABEL: func.func @dear(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.add %[[V0]], %z : (tensor<1x3x4x5xf32>, tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @dear(%x : tensor<1x4x5x3xf32>, %z : tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32> {
    %t = graph.transpose %x {permutation = [0, 3, 1, 2]} : (tensor<1x4x5x3xf32>) -> tensor<1x3x4x5xf32> loc("move")
    %a = graph.add %t, %z : (tensor<1x3x4x5xf32>, tensor<1x3x4x5xf32>) -> tensor<1x3x4x5xf32> loc("add")
    func.return %a : tensor<1x3x4x5xf32>
  }

  // A softmax along the innermost axis keeps it innermost.
  // CHECK-LABEL: func.func @softmax(
  // CHECK-NEXT: %[[V0:.*]] = graph.transpose %x {permutation = [1, 0]} : (tensor<4x5xf32>) -> tensor<5x4xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.softmax %[[V0]] {axis = 1} : (tensor<5x4xf32>) -> tensor<5x4xf32>
  // CHECK-NEXT: func.return %[[V1]]
  func.func @softmax(%x : tensor<4x5xf32>) -> tensor<5x4xf32> {
    %t = graph.transpose %x {permutation = [1, 0]} : (tensor<4x5xf32>) -> tensor<5x4xf32> loc("move")
    %a = graph.softmax %t {axis = 1} : (tensor<5x4xf32>) -> tensor<5x4xf32> loc("softmax")
    func.return %a : tensor<5x4xf32>
  }
}
