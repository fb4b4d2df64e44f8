//! Black-box tests of `podwall explain`.
