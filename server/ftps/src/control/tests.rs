//! The engine from the outside: raw sockets and a TLS client, on loopback.

mod binding;
mod certificates;
mod conversation;
mod limits;
mod transfers;
