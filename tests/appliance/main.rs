//! What a running Layover promises, claim by claim, seen from outside.

mod adoption;
mod algorithms;
mod authentication;
mod calendar;
mod changes;
mod clients;
mod crash;
mod demo;
mod expiry;
mod faults;
mod filezilla;
mod ftps;
mod ftps_clients;
mod ftps_sequences;
mod incidents;
mod journal;
mod ledger;
mod lifecycle;
mod limits;
mod logins;
mod names;
mod operator;
mod permissions;
mod refusals;
mod rename;
mod transfers;
