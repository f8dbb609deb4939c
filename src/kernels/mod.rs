//! What the CPU kernels of operations are made of: lanes and vectors, transposes, prefetch, strided walks, matrix products, Fourier
//! transforms, convolution. Nothing here knows of operations.

mod butterfly;
pub(crate) mod conv2d;
pub(crate) mod fourier;
pub(crate) mod gemm;
pub(crate) mod lanes;
pub(crate) mod prefetch;
pub(crate) mod simd;
pub(crate) mod strided;
pub(crate) mod tile;
pub(crate) mod transpose;
