//! What a kit says, before it is put into anybody's words.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use layover_config::{Host, Port, Settings};
use layover_depot::{
    Account, AuthPolicy, KeyUse, Network, Protocol, Registry, SessionReuse, VirtualPath,
};
use layover_retention::{Keep, Timestamp};
use layover_server::{
    Addresses, HostKey, HostKeySet, HostKeyState, PublicAddresses, ftps_certificate,
    generated_tls_certificate_path, read_certificates, read_tls_certificate, session_reuse,
    trust_anchor,
};

use super::super::status::running_server;
use crate::cli::kit::KitArgs;
use crate::client_line::{Door, Entry};
use crate::context::Context;
use crate::credentials::Credentials;
use crate::error::CliError;
use crate::output::note;

/// What a partner must show over one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Key,
    Password,
    KeyAndPassword,
    Either,
}

impl Proof {
    /// With what an account has; none: it has not what it must show.
    fn of(auth: AuthPolicy, has_key: bool, has_password: bool) -> Option<Self> {
        match auth {
            AuthPolicy::Password => has_password.then_some(Self::Password),
            AuthPolicy::Key => has_key.then_some(Self::Key),
            AuthPolicy::KeyAndPassword => (has_key && has_password).then_some(Self::KeyAndPassword),
            AuthPolicy::Any => match (has_key, has_password) {
                (true, true) => Some(Self::Either),
                (true, false) => Some(Self::Key),
                (false, true) => Some(Self::Password),
                (false, false) => None,
            },
        }
    }

    /// Whether a password alone opens.
    pub(super) fn is_by_password(self) -> bool {
        matches!(self, Self::Password | Self::Either)
    }

    /// Whether a key is shown, or may be.
    pub(super) fn has_key(self) -> bool {
        self != Self::Password
    }
}

/// A way in.
#[derive(Clone, Debug)]
pub(super) struct KitDoor {
    pub(super) door: Door,
    pub(super) proof: Proof,
}

/// An SSH host key.
#[derive(Clone, Debug)]
pub(super) struct KitHostKey {
    pub(super) algorithm: String,
    /// `SHA256:...`.
    pub(super) sha256: String,
    /// As `known_hosts` has it behind the host.
    pub(super) line: String,
    /// Whether clients are shown it now.
    pub(super) is_shown: bool,
}

/// The TLS certificate.
#[derive(Clone, Debug)]
pub(super) struct KitTls {
    /// SHA-256 in lower-case hexadecimal digits, and the last moment.
    pub(super) fingerprint: String,
    pub(super) not_after: Timestamp,
    /// The same of the one that comes next.
    pub(super) next: Option<(String, Timestamp)>,
    /// What a client must trust, in DER form; empty: what its system trusts suffices.
    pub(super) anchors: Vec<Vec<u8>>,
}

/// How long files of a folder stay.
#[derive(Clone, Debug)]
pub(super) struct KitFolder {
    pub(super) path: VirtualPath,
    pub(super) keep: Option<Keep>,
    pub(super) collected_keep: Option<Keep>,
}

/// What a kit says.
#[derive(Clone, Debug)]
pub(super) struct Kit {
    pub(super) made_at: Timestamp,
    pub(super) account: Account,
    /// As clients type it.
    pub(super) host: String,
    /// The server's addresses for the partner's firewall, as far as they are known.
    pub(super) addresses: Vec<IpAddr>,
    /// At least one.
    pub(super) doors: Vec<KitDoor>,
    /// `31000-32000`; none without FTPS.
    pub(super) passive_ports: Option<String>,
    pub(super) session_reuse: SessionReuse,
    pub(super) keep: Keep,
    pub(super) collected_keep: Option<Keep>,
    pub(super) folders: Vec<KitFolder>,
    pub(super) host_keys: Vec<KitHostKey>,
    /// None without FTPS.
    pub(super) tls: Option<KitTls>,
}

impl Kit {
    pub(super) async fn gather(
        context: &Context,
        registry: &Registry,
        arguments: &KitArgs,
    ) -> Result<Self, CliError> {
        let settings = &context.settings;
        let account = registry.account(&arguments.name).await?;
        let host = settings.server.public_name.to_string();
        let doors = doors(&account, settings, &host, arguments)?;
        let is_ftps = doors.iter().any(|one| one.door.entry != Entry::Sftp);
        let is_sftp = doors.iter().any(|one| one.door.entry == Entry::Sftp);
        let policy = context.policy(registry, &account).await?;
        let folders = registry.folder_keeps(&account.home).await?;
        Ok(Self {
            made_at: context.clock.now(),
            addresses: addresses(&account, settings).await?,
            passive_ports: is_ftps.then(|| settings.ftps.passive_ports.to_string()),
            session_reuse: account
                .session_reuse
                .unwrap_or_else(|| session_reuse(settings)),
            keep: policy.keep,
            collected_keep: policy.collected_keep,
            folders: folders
                .into_iter()
                .map(|folder| KitFolder {
                    path: folder.path,
                    keep: folder.keep.map(|keep| keep.min(context.rule.max_keep)),
                    collected_keep: folder.collected_keep,
                })
                .collect(),
            host_keys: match is_sftp {
                true => host_keys(settings)?,
                false => Vec::new(),
            },
            tls: match is_ftps {
                true => Some(tls(settings, &host, arguments)?),
                false => None,
            },
            account,
            host,
            doors,
        })
    }

    /// The door of this kind.
    pub(super) fn door(&self, entry: Entry) -> Option<&KitDoor> {
        self.doors.iter().find(|one| one.door.entry == entry)
    }
}

/// What the account may use of what is served, and can with what it has to show.
fn doors(
    account: &Account,
    settings: &Settings,
    host: &str,
    arguments: &KitArgs,
) -> Result<Vec<KitDoor>, CliError> {
    let server = running_server(&settings.data_dir)?;
    let (sftp, ftps) = (&settings.sftp, &settings.ftps);
    let has_key = !account.keys.is_empty() || !sftp.trusted_user_ca_keys.is_empty();
    let by_sftp = Proof::of(account.auth, has_key, account.has_password);
    let has_certificate = !account.certificates.is_empty();
    let by_ftps = Proof::of(account.auth, has_certificate, account.has_password);
    let served = [
        Served {
            entry: Entry::Sftp,
            protocol: Protocol::Sftp,
            enabled: sftp.enabled,
            port: arguments.sftp_port.map(Into::into),
            setting: sftp.port,
            bound: server.as_ref().and_then(|at: &Addresses| at.sftp),
            proof: by_sftp,
            what: "SFTP",
            option: "--sftp-port",
        },
        Served {
            entry: Entry::Explicit,
            protocol: Protocol::Ftps,
            enabled: ftps.explicit_enabled,
            port: arguments.ftps_port.map(Into::into),
            setting: ftps.explicit_port,
            bound: server.as_ref().and_then(|at| at.ftps),
            proof: by_ftps,
            what: "FTPS",
            option: "--ftps-port",
        },
        Served {
            entry: Entry::Implicit,
            protocol: Protocol::Ftps,
            enabled: ftps.implicit_enabled,
            port: arguments.implicit_port.map(Into::into),
            setting: ftps.implicit_port,
            bound: server.as_ref().and_then(|at| at.ftps_implicit),
            proof: by_ftps,
            what: "implicit FTPS",
            option: "--implicit-port",
        },
    ];
    let open: Vec<_> = served
        .into_iter()
        .filter(|one| one.enabled && account.protocols.contains(one.protocol))
        .collect();
    if open.is_empty() {
        return Err(CliError::NothingServed {
            account: account.name.clone(),
            protocols: account.protocols,
        });
    }
    let nobody = open.iter().all(|one| one.proof.is_none());
    if nobody {
        let (name, credentials) = (&account.name, Credentials::of(account));
        note(&format!(
            "warning: nobody can log in as `{name}` yet\nnext: {}",
            credentials.next_steps(name.as_str())
        ));
    }
    open.into_iter()
        .filter_map(|one| {
            let proof = match nobody {
                true => Some(promised(account.auth)),
                false => one.proof,
            };
            Some((proof?, one))
        })
        .map(|(proof, one)| {
            let door = Door {
                entry: one.entry,
                host: host.to_owned(),
                port: one.port()?,
            };
            Ok(KitDoor { door, proof })
        })
        .collect()
}

/// What must be shown once it is there.
fn promised(auth: AuthPolicy) -> Proof {
    match auth {
        AuthPolicy::Password => Proof::Password,
        AuthPolicy::Key => Proof::Key,
        AuthPolicy::KeyAndPassword => Proof::KeyAndPassword,
        AuthPolicy::Any => Proof::Either,
    }
}

/// A listener.
struct Served {
    entry: Entry,
    protocol: Protocol,
    enabled: bool,
    /// As the operator says that partners see it.
    port: Option<u16>,
    setting: Port,
    /// Where the running server listens.
    bound: Option<std::net::SocketAddr>,
    proof: Option<Proof>,
    what: &'static str,
    option: &'static str,
}

impl Served {
    fn port(&self) -> Result<u16, CliError> {
        let set = Some(self.setting.get()).filter(|port| *port != 0);
        let bound = self.bound.map(|at| at.port());
        let port = self.port.or(set).or(bound);
        port.ok_or(CliError::PortUnknown {
            what: self.what,
            option: self.option,
        })
    }
}

/// Where the account's networks reach the server: what PASV tells them, else the public
/// name, if that is an address.
async fn addresses(account: &Account, settings: &Settings) -> Result<Vec<IpAddr>, CliError> {
    let rules = &settings.ftps.public_address;
    let mut found = Vec::new();
    if rules.rules().is_empty() {
        match &settings.server.public_name {
            Host::Address(address) => found.push(*address),
            Host::Name(name) => note(&format!(
                "note: [ftps] public_address is not set: the kit tells `{name}` alone, and firewalls \
                 want addresses"
            )),
        }
        return Ok(found);
    }
    let looked_up = PublicAddresses::look_up(rules).await?;
    for allowed in &account.networks {
        let from = match allowed.network {
            Network::Any => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Network::Block(block) => block.addr(),
        };
        let Some(host) = rules.for_client(from) else {
            continue;
        };
        let address = looked_up.found().find(|(known, _)| *known == host);
        if let Some((_, address)) = address
            && !found.contains(&IpAddr::V4(address))
        {
            found.push(IpAddr::V4(address));
        }
    }
    Ok(found)
}

fn host_keys(settings: &Settings) -> Result<Vec<KitHostKey>, CliError> {
    let set = HostKeySet::read(&settings.data_dir, &settings.sftp)?;
    let told = |key: &HostKey, is_shown| {
        Ok::<_, CliError>(KitHostKey {
            algorithm: key.algorithm(),
            sha256: key.sha256(),
            line: key.public_line()?,
            is_shown,
        })
    };
    let served = set.served().map(|key| told(key, true));
    let announced = set.in_state(HostKeyState::Announced);
    let announced = announced.map(|key| told(key, false));
    let keys: Vec<_> = served.chain(announced).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        let what = "SSH host key";
        return Err(CliError::NotMadeYet { what });
    }
    Ok(keys)
}

fn tls(settings: &Settings, host: &str, arguments: &KitArgs) -> Result<KitTls, CliError> {
    let generated = generated_tls_certificate_path(&settings.data_dir);
    if settings.ftps.certificate.is_none() && !generated.exists() {
        let what = "TLS certificate";
        return Err(CliError::NotMadeYet { what });
    }
    let (chain, key) = ftps_certificate(settings);
    let identity = read_tls_certificate(&chain, &key)?;
    if !identity.bears(host) {
        note(&format!(
            "warning: the TLS certificate does not bear the name `{host}` ([server] public_name): \
             clients that check names refuse it"
        ));
    }
    let current = trust_anchor(&identity.chain());
    let next = arguments.next_certificate.as_deref();
    let next = next.map(read_certificates).transpose()?;
    let next_anchor = next.as_deref().map(trust_anchor);
    let authorities = arguments.ca.as_deref().map(read_all).transpose()?;
    if authorities.is_none() {
        // A client that is told to trust these takes no other.
        match (&current, &next_anchor) {
            (Some(_), Some(None)) => return Err(CliError::AuthorityUnknown { which: "next" }),
            (None, Some(Some(_))) => return Err(CliError::AuthorityUnknown { which: "present" }),
            _ => {}
        }
    }
    if authorities.is_none() && current.is_none() {
        note(
            "warning: the TLS certificate is of an authority whose own certificate is not in this \
             kit: clients take it only if they know the authority already; for one of your own give \
             it with --ca FILE",
        );
    }
    let mut anchors = authorities.unwrap_or_default();
    for anchor in [current, next_anchor.flatten()].into_iter().flatten() {
        if !anchors.contains(&anchor) {
            anchors.push(anchor);
        }
    }
    let next = next.as_deref().and_then(<[_]>::first);
    Ok(KitTls {
        fingerprint: identity.fingerprint().to_owned(),
        not_after: identity.validity().not_after,
        next: next.map(|next| (next.fingerprint().to_owned(), next.validity().not_after)),
        anchors,
    })
}

/// The kinds of keys that the account has, by fingerprint.
pub(super) fn login_keys(account: &Account) -> impl Iterator<Item = &str> {
    let keys = account.keys.iter();
    keys.filter(|key| key.used_for == KeyUse::Login)
        .map(|key| key.fingerprint.as_str())
}

fn read_all(file: &Path) -> Result<Vec<Vec<u8>>, CliError> {
    let read = read_certificates(file)?;
    Ok(read.iter().map(|one| one.der().to_vec()).collect())
}
