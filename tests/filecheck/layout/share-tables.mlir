// RUN: penstock opt -p 'pack-weights,share-tables{least=1},dce' %s | filecheck %s

builtin.module {
  // The rows of the table are the columns of the packed weights: the gather reads them there.
  // CHECK-LABEL: func.func @tied(
  // CHECK-NEXT: %[[V0:.*]] = graph.constant {key = "[[KEY:constant#[0-9a-f]+]]"} : () -> tensor<5x1x16xf32>
  // CHECK-NEXT: %[[V1:.*]] = graph.transpose %[[V0]] {permutation = [0, 2, 1]} : (tensor<5x1x16xf32>) -> tensor<5x16x1xf32>
  // CHECK-NEXT: %[[V2:.*]] = graph.reshape %[[V1]] : (tensor<5x16x1xf32>) -> tensor<80x1xf32>
  // CHECK-NEXT: %[[V3:.*]] = graph.slice %[[V2]] {starts = [0, 0], steps = [1, 1]} : (tensor<80x1xf32>) -> tensor<66x1xf32>
  // CHECK-NEXT: %[[V4:.*]] = graph.gather %[[V3]], %i : (tensor<66x1xf32>, tensor<1xi64>) -> tensor<1x1xf32>
  // CHECK-NEXT: %[[V5:.*]] = graph.constant {key = "[[KEY]]"} : () -> tensor<5x1x16xf32>
  // CHECK-NEXT: %[[V6:.*]] = graph.matmul %[[V4]], %[[V5]] {b_panel = 16, n = 66} : (tensor<1x1xf32>, tensor<5x1x16xf32>) -> tensor<1x66xf32>
  // CHECK-NEXT: func.return %[[V6]]
  func.func @tied(%i : tensor<1xi64>) -> tensor<1x66xf32> {
    %t = graph.constant {value = dense<2.5> : tensor<66x1xf32>} : () -> tensor<66x1xf32> loc("t")
    %x = graph.gather %t, %i : (tensor<66x1xf32>, tensor<1xi64>) -> tensor<1x1xf32> loc("rows")
    %w = graph.constant {value = dense<2.5> : tensor<1x66xf32>} : () -> tensor<1x66xf32> loc("w")
    %y = graph.matmul %x, %w : (tensor<1x1xf32>, tensor<1x66xf32>) -> tensor<1x66xf32> loc("fc")
    func.return %y : tensor<1x66xf32>
  }

  // Other numbers, or too many rows read at a time: the table stays.
  // CHECK-LABEL: func.func @other(
  // CHECK: graph.gather %{{.*}}, %i : (tensor<66x1xf32>, tensor<1xi64>)
  // CHECK-NEXT: graph.gather %{{.*}}, %j : (tensor<66x1xf32>, tensor<2xi64>)
  // CHECK-NOT: graph.slice
  // CHECK: func.return
  func.func @other(%i : tensor<1xi64>, %j : tensor<2xi64>) -> (tensor<1x66xf32>, tensor<2x1xf32>) {
    %t = graph.constant {value = dense<1.5> : tensor<66x1xf32>} : () -> tensor<66x1xf32> loc("t")
    %u = graph.constant {value = dense<2.5> : tensor<66x1xf32>} : () -> tensor<66x1xf32> loc("u")
    %x = graph.gather %t, %i : (tensor<66x1xf32>, tensor<1xi64>) -> tensor<1x1xf32> loc("rows")
    %z = graph.gather %u, %j : (tensor<66x1xf32>, tensor<2xi64>) -> tensor<2x1xf32> loc("many")
    %w = graph.constant {value = dense<2.5> : tensor<1x66xf32>} : () -> tensor<1x66xf32> loc("w")
    %y = graph.matmul %x, %w : (tensor<1x1xf32>, tensor<1x66xf32>) -> tensor<1x66xf32> loc("fc")
    func.return %y, %z : tensor<1x66xf32>, tensor<2x1xf32>
  }
}
