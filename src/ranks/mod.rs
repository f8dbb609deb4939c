//! Ways for ranks to talk with each other: processes through MPI (feature `mpi`), or threads of one process.

mod threads;

pub use crate::graph::Communicator;
pub use threads::Threads;
