//! Black-box tests of `podwall docs`.
