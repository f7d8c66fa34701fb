//! An integration made usable: from what an operator keeps of a partner's server
//! to a connection, and back to what the connection taught.
//!
//! The way in is [`Partner::prepare`], then [`Partner::connect`], then, whether
//! that came about or not, [`Partner::settle`]. Secrets are fetched here, live as
//! long as the [`Partner`], and are never stored. What hardened mode refuses is
//! refused at use, too: settings may be older than the mode.

mod endings;
mod error;
mod ftps;
mod lessons;
mod pgp;
mod prepare;
mod sftp;
mod system_roots;

use std::time::Duration;

use layover_depot::{Integration, IntegrationName, IntegrationProtocol, LocationPath};

pub use endings::{Ends, PartnerEnding, endings};
pub use error::PartnerError;
use lessons::CERTIFICATE_LESSON;
pub use lessons::Settled;
pub use pgp::PgpKeys;
pub use prepare::{Resolved, Unready};
pub use system_roots::{Authorities, NoSystemRoots, authorities_in, system_authorities};

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::ftps::{Ftps, FtpsOptions, Now, TlsVersions};
use crate::path::{RemotePath, ServerSystem};
use crate::remote::Remote;
use crate::secret_ref::SecretSources;
use crate::sftp::{SftpOptions, SftpRemote};
use crate::source::SourceAddresses;
use crate::witness::{Observed, Witness};

/// What an integration is used with.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Our addresses that connections begin from; none: the system chooses.
    pub sources: Option<SourceAddresses>,
    /// Whether integrations may only be what is safe.
    pub hardened: bool,
    /// What references to secrets need.
    pub secrets: SecretSources,
    /// How long is waited.
    pub waits: Waits,
    /// The clock.
    pub now: Now,
}

/// How long is waited for a partner's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// For its name, TCP, the handshake, the login, a data connection: each.
    pub connect: Duration,
    /// For its next word: a reply, or a byte of a transfer.
    pub stall: Duration,
}

impl Default for Waits {
    /// 30 s for what a healthy server does at once; 120 s for the rest, because
    /// servers scan files, copy them and fetch them from tape before they answer.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(120),
        }
    }
}

/// An integration that can be connected to.
#[derive(Clone, Debug)]
pub struct Partner {
    integration: Integration,
    door: Door,
    resolved: Vec<Resolved>,
    witness: Witness,
}

/// How the partner's server is spoken to.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// FTPS, and FTP without TLS.
    Ftps(Box<FtpsOptions>),
    /// SFTP.
    Sftp(Box<SftpOptions>),
}

/// A connection to a partner's server, logged in.
pub struct Connection(Box<dyn Remote>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(..)")
    }
}

impl Connection {
    /// What can be done there.
    pub fn remote(&mut self) -> &mut dyn Remote {
        &mut *self.0
    }

    /// Says farewell. Dropping it closes the connection without one.
    ///
    /// # Errors
    /// When the connection was lost.
    pub async fn close(self) -> Result<(), RemoteError> {
        self.0.close().await
    }
}

impl Partner {
    /// The integration as it was read.
    #[must_use]
    pub fn integration(&self) -> &Integration {
        &self.integration
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &IntegrationName {
        &self.integration.spec.name
    }

    /// How paths are written there.
    #[must_use]
    pub fn system(&self) -> ServerSystem {
        match &self.door {
            Door::Ftps(options) => options.system,
            Door::Sftp(_) => ServerSystem::Unix,
        }
    }

    /// Secrets and certificates that were fetched, and from where.
    #[must_use]
    pub fn resolved(&self) -> &[Resolved] {
        &self.resolved
    }

    /// What its connections saw so far.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.witness.observed()
    }

    /// Connects and logs in. Ask [`Partner::observed`] what was seen, and
    /// [`Partner::settle`] afterwards in any case. After
    /// [`RemoteFault::SessionReuseDemanded`] a second connection is made with what
    /// the first one learned.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn connect(&self) -> Result<Connection, RemoteError> {
        let spec = &self.integration.spec;
        if spec.protocol == IntegrationProtocol::Ftp {
            tracing::warn!(
                integration = %spec.name,
                host = %spec.host,
                "plain ftp: user name, password and files of this integration can be read by \
                 whoever is on the way"
            );
        }
        Ok(Connection(match &self.door {
            Door::Ftps(options) => {
                let mut options = FtpsOptions::clone(options);
                if self.witness.observed().tls12_only && options.tls.versions == TlsVersions::From12
                {
                    options.tls.versions = TlsVersions::Only12;
                }
                Box::new(Ftps::connect_watched(options, &self.witness).await?)
            }
            Door::Sftp(options) => {
                Box::new(SftpRemote::connect_watched(options, &self.witness).await?)
            }
        }))
    }
}

/// The path of a location as the engine takes it.
///
/// # Errors
/// Never for a path that the registry keeps: its limits are within ours.
pub fn remote_path(path: &LocationPath) -> Result<RemotePath, RemoteError> {
    RemotePath::new(path.as_bytes()).map_err(|error| {
        let detail = error.to_string();
        RemoteError::new(Step::Prepare, RemoteFault::Settings { detail })
    })
}

#[cfg(test)]
mod tests;
