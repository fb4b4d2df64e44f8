//! Black-box tests of `podwall expectations`.
