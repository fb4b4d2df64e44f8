//! Black-box tests of `podwall diff`.
