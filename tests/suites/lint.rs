//! Black-box tests of `podwall lint`.
