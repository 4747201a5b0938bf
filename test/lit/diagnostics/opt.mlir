// Errors are messages on stderr and exit status 1; a Python traceback would be a crash.
// RUN: not torchair-opt %s 2>&1 | filecheck %s --check-prefix=PARSE
// RUN: not torchair-opt %s -p canonicalise 2>&1 | filecheck %s --check-prefix=UNKNOWN
// RUN: not torchair-opt %s -p "promote-dtypes{depth=3}" 2>&1 | filecheck %s --check-prefix=OPTION
// RUN: not torchair-opt %s.missing 2>&1 | filecheck %s --check-prefix=MISSING
// RUN: torchair-opt %s --parsing-diagnostics | filecheck %s --check-prefix=PARSE

// PARSE: :[[# @LINE + 8]]:
// PARSE: Expected ')'
// PARSE-NOT: Traceback
// UNKNOWN: torchair-opt: unknown pass 'canonicalise'
// UNKNOWN-NEXT: Try: did you mean 'canonicalize'?
// OPTION: depth
// MISSING: No such file or directory
func.func @f(%x: tensor<4xf32>) {
  %0 = aten.relu(%x : (tensor<4xf32>) -> tensor<4xf32>
  func.return
}
