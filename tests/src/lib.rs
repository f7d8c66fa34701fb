//! Drives a real Layover from outside: starts the executable on a free port with its own data
//! directory and database, gives it partners, and lets real SFTP clients at it.
//!
//! The way in is [`Setup`], which yields a [`Layover`]; add accounts, then start it. Everything
//! here waits for events with a deadline and panics with the server's log when one does not come.
//! Nothing here may use a fixed port, a fixed path or another test's state.

pub mod account;
pub mod calendar;
pub mod content;
pub mod curl;
pub mod engine;
pub mod external;
pub mod filezilla;
pub mod flaky;
pub mod ftps;
pub mod ftps_control;
pub mod haproxy;
pub mod http;
pub mod keys;
pub mod layover;
pub mod lftp;
pub mod load;
pub mod machine;
pub mod netns;
pub mod openssh;
pub mod packet;
pub mod paramiko;
pub mod partner;
pub mod partner_ftps;
pub mod partner_server;
pub mod proc;
pub mod process;
pub mod rclone;
pub mod receiver;
pub mod sftp;
pub mod skip;
pub mod ssh;
pub mod storage;
pub mod tree;
pub mod wait;

pub use account::{Account, AccountPlan};
pub use engine::Engine;
pub use layover::{Layover, Setup};
pub use partner::{Partner, Protocol};
