// RUN: penstock opt -p 'fuse{max-ops=8}' %s | filecheck %s
// RUN: penstock opt --from fuse --to fuse %s | filecheck %s
// RUN: penstock opt - -p fuse < %s | filecheck %s
// RUN: penstock opt --no-locations -p dce %s | filecheck %s --check-prefix PLAIN
// RUN: penstock opt --print-ir-after=changed -p dce,cse %s 2>&1 | filecheck %s --check-prefix CHANGED
// RUN: not penstock opt -p 'fuse{max-op=8}' %s 2>&1 | filecheck %s --check-prefix OPTION
// RUN: not penstock opt -p fuze %s 2>&1 | filecheck %s --check-prefix NAME
// RUN: not penstock opt -p 'fuse{' %s 2>&1 | filecheck %s --check-prefix SYNTAX
// RUN: not penstock opt --from lower --to fuse %s 2>&1 | filecheck %s --check-prefix ORDER

// CHECK: graph.dispatch "map" @neg
// OPTION: error: no pass of the phase fuse has the option 'max-op'; did you mean 'max-ops'? [PENS-O004]
// NAME: error: there is no pass or phase 'fuze'; did you mean 'fuse'? [PENS-O003]
// SYNTAX: error: the pipeline 'fuse{' cannot be read: {{.*}} [PENS-O005]
// ORDER: error: the phase fuse comes before lower, not after it. [PENS-O006]
// PLAIN-NOT: loc(
// PLAIN: func.return %a : tensor<4xf32>
// CHANGED: // ----- IR after dce -----
// CHANGED-NOT: // ----- IR after cse -----
func.func @main(%x : tensor<4xf32> {penstock.name = "x"}) -> (tensor<4xf32> {penstock.name = "y"}) {
  %a = graph.neg %x : (tensor<4xf32>) -> tensor<4xf32> loc("neg")
  %unused = graph.exp %x : (tensor<4xf32>) -> tensor<4xf32> loc("exp")
  func.return %a : tensor<4xf32>
}
