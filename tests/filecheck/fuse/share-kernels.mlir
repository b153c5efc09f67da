// RUN: penstock opt -p share-kernels %s | filecheck %s

builtin.module {
  // Two layers of one shape are one kernel, whatever nodes they come from and whatever weights they read. Another
  // extent, another op or another number in the body makes another kernel.
  // CHECK-LABEL: func.func @layers(
  // CHECK-NEXT: graph.dispatch "contraction" @first(%{{.*}} = %{{.*}} : tensor<8x16xf32>, %{{.*}} = %{{.*}} : tensor<16x16xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "contraction" @first(%{{.*}} = %{{.*}} : tensor<8x16xf32>, %{{.*}} = %{{.*}} : tensor<16x16xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "contraction" @wide(%{{.*}} = %{{.*}} : tensor<8x16xf32>, %{{.*}} = %{{.*}} : tensor<16x32xf32>) {
  // CHECK-NEXT: graph.matmul %{{.*}}, %{{.*}} : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "map" @gentle(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.leaky_relu %{{.*}} {alpha = 0.1} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: graph.dispatch "map" @steep(%{{.*}} = %{{.*}} : tensor<8x16xf32>) {
  // CHECK-NEXT: graph.leaky_relu %{{.*}} {alpha = 0.2} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  // CHECK-NEXT: graph.yield
  // CHECK-NEXT: }
  // CHECK-NEXT: func.return %{{.*}}, %{{.*}}, %{{.*}}
  func.func @layers(%x : tensor<8x16xf32>, %w : tensor<16x16xf32>, %v : tensor<16x16xf32>, %u : tensor<16x32xf32>) -> (tensor<8x32xf32>, tensor<8x16xf32>, tensor<8x16xf32>) {
    %a = graph.dispatch "contraction" @first(%p = %x : tensor<8x16xf32>, %q = %w : tensor<16x16xf32>) {
      %r = graph.matmul %p, %q : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32> loc("first")
      graph.yield %r : (tensor<8x16xf32>) -> ()
    } loc("first")
    %b = graph.dispatch "contraction" @second(%m = %a : tensor<8x16xf32>, %n = %v : tensor<16x16xf32>) {
      %r = graph.matmul %m, %n : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32> loc("second")
      graph.yield %r : (tensor<8x16xf32>) -> ()
    } loc("second")
    %c = graph.dispatch "contraction" @wide(%m = %b : tensor<8x16xf32>, %n = %u : tensor<16x32xf32>) {
      %r = graph.matmul %m, %n : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32> loc("wide")
      graph.yield %r : (tensor<8x32xf32>) -> ()
    } loc("wide")
    %d = graph.dispatch "map" @gentle(%m = %b : tensor<8x16xf32>) {
      %r = graph.leaky_relu %m {alpha = 0.1} : (tensor<8x16xf32>) -> tensor<8x16xf32> loc("gentle")
      graph.yield %r : (tensor<8x16xf32>) -> ()
    } loc("gentle")
    %e = graph.dispatch "map" @steep(%m = %b : tensor<8x16xf32>) {
      %r = graph.leaky_relu %m {alpha = 0.2} : (tensor<8x16xf32>) -> tensor<8x16xf32> loc("steep")
      graph.yield %r : (tensor<8x16xf32>) -> ()
    } loc("steep")
    func.return %c, %d, %e : tensor<8x32xf32>, tensor<8x16xf32>, tensor<8x16xf32>
  }
}
