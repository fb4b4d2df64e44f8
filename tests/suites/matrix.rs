//! Black-box tests of `podwall matrix`.
