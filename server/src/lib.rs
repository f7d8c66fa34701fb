//! The appliance: settings become options, ports are bound, connections are
//! handed to the front ends, background jobs run, and everything ends in order.
//!
//! The way in is [`Appliance::start`]. This crate must contain neither SQL nor
//! policy nor protocol: it composes those who do. Every task it starts is
//! waited for when the appliance stops.

mod address_file;
mod appliance;
mod certificate_watch;
mod clock;
mod clock_watch;
mod endings;
mod events;
mod expectations;
mod flows;
mod hardening;
mod host_key;
mod host_key_set;
mod host_key_watch;
mod jobs;
mod limits;
mod listener;
mod logging;
mod options;
mod outbound;
mod pace;
mod privileged_ports;
mod public_address;
mod sandbox;
mod service_manager;
mod signals;
mod tls_certificate;
mod tls_request;
mod unwritten;
mod user_ca;
mod work;

pub use address_file::{ADDRESS_FILE_NAME, Addresses};
pub use appliance::{Appliance, SOFT_STOP_LIMIT, StartError};
pub use clock::{ClockEvent, SystemClock, TimeSource};
pub use clock_watch::resume_clock;
pub use hardening::{harden_process, warn_of_root};
pub use host_key::{HostKey, HostKeyError};
pub use host_key_set::{HostKeyChange, HostKeyEntry, HostKeyKind, HostKeySet, HostKeyState};
pub use jobs::JobStatus;
pub use listener::BindError;
pub use logging::{LogStartError, start as start_logging};
pub use options::{
    OptionsError, RetentionRule, depot_options, ftps_certificate, passive_port_survey,
    retention_rule, session_reuse,
};
pub use outbound::{OutboundError, surroundings};
pub use privileged_ports::take_up_privileged_ports;
pub use public_address::{PublicAddressError, PublicAddresses};
pub use sandbox::{
    SandboxError, SandboxReport, SandboxState, confine, look_at_sandbox, sandbox_report,
};
pub use service_manager::{ServiceState, tell_service_manager};
pub use signals::{Request, Signals};
pub use tls_certificate::{
    TlsCertificateError, TlsCertificateState, generated_path as generated_tls_certificate_path,
    load as load_tls_certificate, read as read_tls_certificate, read_certificates, trust_anchor,
};
pub use tls_request::{
    CertificateRequest, CertifiedKey, Installed, install_certificate, next_key_path,
    request_certificate,
};
pub use user_ca::{UserCaFileError, load as load_user_cas};
pub use work::{SWEEP_BUDGET, SWEEP_JOB};
