//! The dispatcher against a real depot: bytes of a client in, replies out,
//! without a network between.

mod answers;
mod client;
mod extensions;
mod faults;
mod flow;
mod random;
