// RUN: penstock opt %s | filecheck %s

// Recurrence: every op reads back as it was written, parameters at their default left out.

func.func @lstm_0(%x0 : tensor<7x2x3xf32>, %x1 : tensor<1x20x3xf32>, %x2 : tensor<1x20x5xf32>, %x3 : tensor<1x40xf32>, %x4 : tensor<1x2x5xf32>, %x5 : tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>) {
  // CHECK: graph.lstm %x0, %x1, %x2, %x3, %x4, %x5 : (tensor<7x2x3xf32>, tensor<1x20x3xf32>, tensor<1x20x5xf32>, tensor<1x40xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>)
  %r0, %r1, %r2 = graph.lstm %x0, %x1, %x2, %x3, %x4, %x5 : (tensor<7x2x3xf32>, tensor<1x20x3xf32>, tensor<1x20x5xf32>, tensor<1x40xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>) loc("lstm")
  func.return %r0, %r1, %r2 : tensor<7x1x2x5xf32>, tensor<1x2x5xf32>, tensor<1x2x5xf32>
}
func.func @lstm_1(%x0 : tensor<7x2x3xf32>, %x1 : tensor<2x20x3xf32>, %x2 : tensor<2x20x5xf32>, %x3 : tensor<2x40xf32>, %x4 : tensor<2x2x5xf32>, %x5 : tensor<2x2x5xf32>, %x6 : tensor<2xi32>, %x7 : tensor<2x15xf32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>) {
  // CHECK: graph.lstm %x0, %x1, %x2, %x3, %x4, %x5, %x6, %x7 {direction = "bidirectional", clip = 3.0, extras = "lengths,peepholes", activations = "sigmoid,tanh,elu(0.5)"} : (tensor<7x2x3xf32>, tensor<2x20x3xf32>, tensor<2x20x5xf32>, tensor<2x40xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2xi32>, tensor<2x15xf32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>)
  %r0, %r1, %r2 = graph.lstm %x0, %x1, %x2, %x3, %x4, %x5, %x6, %x7 {direction = "bidirectional", clip = 3.0, extras = "lengths,peepholes", activations = "sigmoid,tanh,elu(0.5)"} : (tensor<7x2x3xf32>, tensor<2x20x3xf32>, tensor<2x20x5xf32>, tensor<2x40xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2xi32>, tensor<2x15xf32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>) loc("lstm")
  func.return %r0, %r1, %r2 : tensor<7x2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>
}
func.func @gru_0(%x0 : tensor<7x2x3xf32>, %x1 : tensor<1x15x3xf32>, %x2 : tensor<1x15x5xf32>, %x3 : tensor<1x30xf32>, %x4 : tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) {
  // CHECK: graph.gru %x0, %x1, %x2, %x3, %x4 : (tensor<7x2x3xf32>, tensor<1x15x3xf32>, tensor<1x15x5xf32>, tensor<1x30xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>)
  %r0, %r1 = graph.gru %x0, %x1, %x2, %x3, %x4 : (tensor<7x2x3xf32>, tensor<1x15x3xf32>, tensor<1x15x5xf32>, tensor<1x30xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) loc("gru")
  func.return %r0, %r1 : tensor<7x1x2x5xf32>, tensor<1x2x5xf32>
}
func.func @gru_1(%x0 : tensor<7x2x3xf32>, %x1 : tensor<1x15x3xf32>, %x2 : tensor<1x15x5xf32>, %x3 : tensor<1x30xf32>, %x4 : tensor<1x2x5xf32>, %x5 : tensor<2xi32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) {
  // CHECK: graph.gru %x0, %x1, %x2, %x3, %x4, %x5 {direction = "reverse", extras = "lengths", linear_before_reset = true} : (tensor<7x2x3xf32>, tensor<1x15x3xf32>, tensor<1x15x5xf32>, tensor<1x30xf32>, tensor<1x2x5xf32>, tensor<2xi32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>)
  %r0, %r1 = graph.gru %x0, %x1, %x2, %x3, %x4, %x5 {direction = "reverse", extras = "lengths", linear_before_reset = true} : (tensor<7x2x3xf32>, tensor<1x15x3xf32>, tensor<1x15x5xf32>, tensor<1x30xf32>, tensor<1x2x5xf32>, tensor<2xi32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) loc("gru")
  func.return %r0, %r1 : tensor<7x1x2x5xf32>, tensor<1x2x5xf32>
}
func.func @rnn_0(%x0 : tensor<7x2x3xf32>, %x1 : tensor<1x5x3xf32>, %x2 : tensor<1x5x5xf32>, %x3 : tensor<1x10xf32>, %x4 : tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) {
  // CHECK: graph.rnn %x0, %x1, %x2, %x3, %x4 : (tensor<7x2x3xf32>, tensor<1x5x3xf32>, tensor<1x5x5xf32>, tensor<1x10xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>)
  %r0, %r1 = graph.rnn %x0, %x1, %x2, %x3, %x4 : (tensor<7x2x3xf32>, tensor<1x5x3xf32>, tensor<1x5x5xf32>, tensor<1x10xf32>, tensor<1x2x5xf32>) -> (tensor<7x1x2x5xf32>, tensor<1x2x5xf32>) loc("rnn")
  func.return %r0, %r1 : tensor<7x1x2x5xf32>, tensor<1x2x5xf32>
}
func.func @rnn_1(%x0 : tensor<7x2x3xf32>, %x1 : tensor<2x5x3xf32>, %x2 : tensor<2x5x5xf32>, %x3 : tensor<2x10xf32>, %x4 : tensor<2x2x5xf32>, %x5 : tensor<2xi32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>) {
  // CHECK: graph.rnn %x0, %x1, %x2, %x3, %x4, %x5 {direction = "bidirectional", clip = 1.5, extras = "lengths", activations = "tanh,leaky_relu(0.5)"} : (tensor<7x2x3xf32>, tensor<2x5x3xf32>, tensor<2x5x5xf32>, tensor<2x10xf32>, tensor<2x2x5xf32>, tensor<2xi32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>)
  %r0, %r1 = graph.rnn %x0, %x1, %x2, %x3, %x4, %x5 {direction = "bidirectional", clip = 1.5, extras = "lengths", activations = "tanh,leaky_relu(0.5)"} : (tensor<7x2x3xf32>, tensor<2x5x3xf32>, tensor<2x5x5xf32>, tensor<2x10xf32>, tensor<2x2x5xf32>, tensor<2xi32>) -> (tensor<7x2x2x5xf32>, tensor<2x2x5xf32>) loc("rnn")
  func.return %r0, %r1 : tensor<7x2x2x5xf32>, tensor<2x2x5xf32>
}
