//! What a running Layover promises, claim by claim, seen from outside.

mod adoption;
mod algorithms;
mod authentication;
mod calendar;
mod changes;
mod client_certificates;
mod clients;
mod crash;
mod crowds;
mod demo;
mod expiry;
mod faults;
mod ftps;
mod incidents;
mod journal;
mod ledger;
mod lifecycle;
mod limits;
mod logins;
mod names;
mod operator;
mod permissions;
mod publishing;
mod refusals;
mod rename;
mod transfers;
