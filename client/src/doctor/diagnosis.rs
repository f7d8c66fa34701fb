//! From a fault to its likely cause and what to do: one table for the doctor and for
//! whoever has to tell why a transfer failed.

use layover_depot::{
    FtpsSecurity, Integration, IntegrationName, IntegrationProtocol, SftpAuth, SshAlgorithms,
};

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::partner::PartnerError;
use crate::witness::Observed;

/// What is wrong, why, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// What failed, with the server's own words.
    pub fault: String,
    /// Why, most likely.
    pub likely_cause: String,
    /// What to do, with the commands as they are typed.
    pub what_to_do: String,
}

/// What an integration that cannot be used lacks.
pub(super) fn of_partner(error: &PartnerError, name: &IntegrationName) -> Diagnosis {
    let cause = match error {
        PartnerError::Hardened { .. } => {
            "it was set up before hardened mode was switched on ([outbound] hardened = true)"
        }
        PartnerError::Missing { .. } => "it was not given yet",
        PartnerError::Secret { .. } => {
            "the secret is somewhere else, or this process may not read it"
        }
        PartnerError::Reference { .. } => "it was written for another version",
        PartnerError::Sealed { .. } => {
            "the master keys of this node are not those that it was sealed with"
        }
        PartnerError::Field { .. } => "its value does not fit this system",
        PartnerError::SystemRoots(_) => {
            "the machine or container was installed without certificates of public authorities"
        }
    };
    Diagnosis {
        fault: error.to_string(),
        likely_cause: cause.to_owned(),
        what_to_do: error.remedy().replace("NAME", name.as_str()),
    }
}

/// What an error on a partner's server means. `seen` is what its connection saw.
#[must_use]
pub fn diagnose(error: &RemoteError, integration: &Integration, seen: &Observed) -> Diagnosis {
    let case = Case {
        error,
        integration,
        seen,
    };
    let (likely_cause, what_to_do) = case.cause_and_remedy();
    let mut fault = error.fault.to_string();
    if let Some(words) = &error.server_said {
        fault.push_str(&format!(" (the server said: {words})"));
    }
    Diagnosis {
        fault,
        likely_cause,
        what_to_do,
    }
}

struct Case<'a> {
    error: &'a RemoteError,
    integration: &'a Integration,
    seen: &'a Observed,
}

/// A cause and a remedy.
type Pair = (String, String);

fn pair(cause: &str, remedy: impl Into<String>) -> Pair {
    (cause.to_owned(), remedy.into())
}

impl Case<'_> {
    fn name(&self) -> &IntegrationName {
        &self.integration.spec.name
    }

    /// `layover integration set NAME`.
    fn set(&self, options: &str) -> String {
        format!("layover integration set {} {options}", self.name())
    }

    fn speaks(&self, protocol: IntegrationProtocol) -> bool {
        self.integration.spec.protocol == protocol
    }

    /// A server that lets nobody in by plain FTP says so in words only.
    fn wants_tls(&self) -> bool {
        let words = self.error.server_said.as_deref().unwrap_or_default();
        let words = words.to_lowercase();
        self.speaks(IntegrationProtocol::Ftp)
            && self.error.step == Step::Login
            && ["encrypt", "tls", "ssl", "secure"]
                .iter()
                .any(|word| words.contains(word))
    }

    fn cause_and_remedy(&self) -> Pair {
        if self.wants_tls() {
            return pair(
                "the server lets nobody in without TLS",
                self.set("--protocol ftps"),
            );
        }
        match &self.error.fault {
            RemoteFault::UnknownHost { host } => pair(
                "the name is misspelt, or this machine's DNS does not know it",
                format!(
                    "compare it with the partner's papers, try `getent hosts {host}` on this \
                     machine; another one: {}",
                    self.set("--host HOST")
                ),
            ),
            RemoteFault::ConnectionRefused => self.refused(),
            RemoteFault::Unreachable => pair(
                "no route leads there from this machine, or a firewall says so",
                "ask your network's people; a VPN or an IPv6 route may be missing",
            ),
            RemoteFault::TimedOut { .. } => self.silent(),
            RemoteFault::ConnectionLost => self.lost(),
            RemoteFault::TlsHandshake { detail } => self.handshake(detail),
            RemoteFault::TlsRefused if self.seen.logged_in => pair(
                "the server protects its control connection and refuses to protect files (PROT P)",
                "ask the partner to switch protection of data connections on",
            ),
            RemoteFault::TlsRefused => pair(
                "the server has no TLS on this port: it may be a plain FTP server, or one that \
                 speaks TLS from the first byte on another port (implicit, usually 990)",
                format!(
                    "ask the partner to switch explicit FTPS on (AUTH TLS), or whether it is \
                     implicit: {}",
                    self.set("--security implicit --port 990")
                ),
            ),
            RemoteFault::CertificateUntrusted
            | RemoteFault::CertificateExpired
            | RemoteFault::CertificateName { .. }
            | RemoteFault::CertificateInvalid { .. }
            | RemoteFault::CertificatePin { .. } => self.certificate(),
            RemoteFault::NoCommonAlgorithm { .. }
            | RemoteFault::HostKeyUnknown { .. }
            | RemoteFault::HostKeyChanged { .. } => self.ssh(),
            RemoteFault::LoginRefused => self.login(),
            RemoteFault::DataConnectionFailed { .. }
            | RemoteFault::DataConnectionMissing { .. }
            | RemoteFault::SessionReuseDemanded => self.data(),
            RemoteFault::TooManyConnections => pair(
                "other connections of ours, or of others with this account, are still open there",
                "try again later; if it stays so, ask the partner for more connections, or run \
                 fewer transfers at once ([outbound] max_concurrent)",
            ),
            RemoteFault::Settings { .. } => pair(
                "a setting, key or certificate of ours does not fit",
                format!(
                    "see `layover integration show {}` and [outbound] in the settings",
                    self.name()
                ),
            ),
            RemoteFault::Local { .. } => pair(
                "this machine could not do its part",
                "look at the disk, the memory and the limits of open files",
            ),
            _ => self.files(),
        }
    }

    fn refused(&self) -> Pair {
        let spec = &self.integration.spec;
        let usual = match spec.protocol {
            IntegrationProtocol::Sftp => "SFTP is usually on port 22",
            IntegrationProtocol::Ftps | IntegrationProtocol::Ftp => {
                "FTPS is usually on port 21 when explicit, 990 when implicit"
            }
        };
        (
            format!(
                "nothing listens on port {} there, or a firewall refuses us: {usual}",
                spec.port()
            ),
            format!(
                "ask the partner for the port and whether the server runs and lets our addresses \
                 in (`layover integration kit {}` names them); another port: {}",
                self.name(),
                self.set("--port PORT")
            ),
        )
    }

    fn silent(&self) -> Pair {
        if self.error.step == Step::Resolve {
            return pair(
                "this machine's DNS server does not answer",
                "look at /etc/resolv.conf and the network",
            );
        }
        if self.seen.server.is_none() && self.error.step == Step::Connect {
            return pair(
                "a firewall, ours or the partner's, drops our packets: our address is not on the \
                 partner's list, or the port is another one",
                format!(
                    "send the partner `layover integration kit {}`, which names our addresses, \
                     and have your own firewall's people look, too",
                    self.name()
                ),
            );
        }
        let tls = self.integration.spec.settings.tls.security;
        if self.seen.greeting.is_none() && self.speaks(IntegrationProtocol::Ftps) {
            return match tls {
                FtpsSecurity::Explicit => pair(
                    "the server accepts connections and says nothing: a port for implicit TLS \
                     waits for us to begin; or the server, or a firewall before it, is stuck",
                    format!(
                        "ask the partner which it is; implicit: {}",
                        self.set("--security implicit")
                    ),
                ),
                FtpsSecurity::Implicit => pair(
                    "the server accepts connections and does not answer TLS: the port may be one \
                     for explicit TLS, or the server is stuck",
                    format!(
                        "ask the partner which it is; explicit: {}",
                        self.set("--security explicit")
                    ),
                ),
            };
        }
        if self.seen.greeting.is_none() {
            return pair(
                "something accepts connections and says nothing: the port is that of another \
                 service, or the server, or a firewall before it, is stuck",
                "ask the partner for the port and to look at the server",
            );
        }
        pair(
            "the server, or a firewall between, has fallen silent: it is overloaded, or scans a \
             file",
            "try again; if it is only slow, give it longer ([outbound] stall_timeout)",
        )
    }

    fn lost(&self) -> Pair {
        if self.seen.logged_in {
            return pair(
                "the server or a firewall between ended the connection",
                "try again; if it comes back, ask the partner what the server's log says",
            );
        }
        pair(
            "the server, or a firewall before it, hung up before the login: our address is not on \
             its list, the port belongs to another service, or the protocol is another one",
            format!(
                "ask the partner what the server's log says about our address \
                 (`layover integration kit {}` names it)",
                self.name()
            ),
        )
    }

    fn handshake(&self, detail: &str) -> Pair {
        let has = |text: &str| detail.contains(text);
        if has("does not speak TLS") {
            return pair(
                "the port is not one for TLS from the first byte: explicit FTPS begins in clear",
                format!(
                    "ask the partner; explicit: {}",
                    self.set("--security explicit --port 21")
                ),
            );
        }
        if has("none of our TLS versions")
            || has("ProtocolVersion")
            || has("UnsupportedVersion")
            || has("incompatible")
        {
            return pair(
                "the server speaks only TLS 1.0 or 1.1, which are broken, or not the version that \
                 ftps.min_tls asks for",
                format!(
                    "ask the partner to switch TLS 1.2 or 1.3 on; to allow 1.2 again on our side: \
                     {}",
                    self.set("--min-tls 1.2")
                ),
            );
        }
        if has("cipher") {
            return pair(
                "the server offers only old ciphers, or its certificate's key is of a kind that \
                 TLS 1.2 and 1.3 no longer use",
                "ask the partner to allow ECDHE with AES-GCM or ChaCha20 (TLS 1.2), or TLS 1.3",
            );
        }
        if has("wants a certificate of ours") {
            return pair(
                "the server asks clients for a certificate, and we have none",
                self.set("--client-certificate FILE --client-key file:/path/of/the/key"),
            );
        }
        if has("does not accept our certificate") {
            return pair(
                "our client certificate is expired, or of an authority that the server does not \
                 trust",
                format!(
                    "ask the partner which authority is trusted; another certificate: {}",
                    self.set("--client-certificate FILE --client-key REFERENCE")
                ),
            );
        }
        pair(
            "the server's TLS is broken or set up for old clients alone",
            "ask the partner for TLS 1.2 or 1.3 with usual ciphers, and what the server's log says",
        )
    }

    fn certificate(&self) -> Pair {
        let shown = self.seen.certificate.as_ref();
        let print = shown.map_or_else(
            || "SHA256".to_owned(),
            |shown| shown.fingerprint.to_string(),
        );
        let pin = self.set(&format!("--certificate-pin {print}"));
        match &self.error.fault {
            RemoteFault::CertificateUntrusted => {
                let is_self_signed = shown.is_some_and(|shown| shown.subject == shown.issuer);
                let cause = if is_self_signed {
                    "the certificate is self-signed: nobody vouches for it"
                } else if self.integration.spec.settings.tls.ca_certificate.is_some() {
                    "the certificate was signed by another authority than the CA certificate that \
                     was given, or the server leaves an intermediate certificate out"
                } else {
                    "the certificate was signed by an authority of the partner's own, or the \
                     server leaves an intermediate certificate out"
                };
                pair(
                    cause,
                    format!(
                        "ask the partner for the CA certificate (with its intermediates): {}; or \
                         compare the fingerprint with the partner by telephone, then: {pin}",
                        self.set("--ca-certificate FILE")
                    ),
                )
            }
            RemoteFault::CertificateExpired => pair(
                "the partner has not renewed the certificate, or one of the two clocks is wrong",
                "ask the partner to renew it; see that this machine's clock is right",
            ),
            RemoteFault::CertificateName { .. } => {
                let names = shown.map(|shown| shown.names.join(", "));
                let names = names.filter(|names| !names.is_empty());
                let names = names.unwrap_or_else(|| "no name at all".to_owned());
                (
                    format!("the certificate was made for {names}, not for the host that we use"),
                    format!(
                        "use a name that it bears: {}; or ask the partner for one with the right \
                         name; or pin it: {pin}",
                        self.set("--host HOST")
                    ),
                )
            }
            RemoteFault::CertificatePin { .. } => pair(
                "the partner has renewed the certificate, or somebody sits in between",
                format!("compare the fingerprint with the partner by telephone; then: {pin}"),
            ),
            _ => pair(
                "the certificate is not made as certificates of servers are",
                format!("ask the partner for another one; or pin this one: {pin}"),
            ),
        }
    }

    fn ssh(&self) -> Pair {
        let name = self.name();
        match &self.error.fault {
            RemoteFault::HostKeyUnknown { shown } => pair(
                "nobody has confirmed this server's key yet: that is so on the first connection",
                format!(
                    "compare the fingerprint with the partner by telephone; if it is the same: \
                     layover integration host-key confirm {name} {shown}"
                ),
            ),
            RemoteFault::HostKeyChanged { pinned, shown } => pair(
                "the partner has a new server or a new key, or somebody sits in between",
                format!(
                    "compare the fingerprint with the partner by telephone; only if it is the \
                     same: layover integration host-key confirm {name} {shown}, then layover \
                     integration host-key remove {name} {}",
                    pinned.split(", ").next().unwrap_or(pinned)
                ),
            ),
            _ => match self.integration.spec.settings.sftp.algorithms {
                SshAlgorithms::Modern => pair(
                    "the server is older than what is offered by default",
                    format!(
                        "{}; if that does not do, the partner must update the server",
                        self.set("--algorithms compatible")
                    ),
                ),
                SshAlgorithms::Compatible => pair(
                    "the server offers only algorithms that are broken (SHA-1, CBC, DSA)",
                    "ask the partner to update the server or to switch newer algorithms on",
                ),
            },
        }
    }

    fn login(&self) -> Pair {
        let name = self.name();
        let user = self.integration.spec.username.as_str();
        let by_key = self.speaks(IntegrationProtocol::Sftp)
            && self.integration.spec.settings.sftp.auth == SftpAuth::Key;
        if by_key {
            return (
                format!(
                    "the partner has not installed our public key for `{user}` yet, the user name \
                     is another one, or the server wants a password as well"
                ),
                format!(
                    "send the partner our public key: layover integration key show {name}; \
                     another name: {}",
                    self.set("--username USER")
                ),
            );
        }
        (
            format!(
                "user name or password of `{user}` is wrong or expired, the account is locked, or \
                 it may not log in from our address"
            ),
            format!(
                "see that the secret holds what the partner gave you ({}), then ask the partner \
                 whether the account is locked",
                self.set("--password REFERENCE")
            ),
        )
    }

    fn data(&self) -> Pair {
        let name = self.name();
        match &self.error.fault {
            RemoteFault::DataConnectionMissing { .. } => (
                "in active mode the server connects to us, and its connection did not arrive: our \
                 firewall or address translation keeps it out, or the server may not connect out"
                    .to_owned(),
                format!(
                    "open the ports in our firewall and announce the outer address: {}; or use \
                     passive mode: {}",
                    self.set("--active-ports 50000-50100 --active-address ADDRESS"),
                    self.set("--transfer passive")
                ),
            ),
            RemoteFault::SessionReuseDemanded => pair(
                "the server wants the TLS session of the control connection resumed and does not \
                 let us: its session cache is off or its tickets are not accepted",
                "ask the partner what the server's log says about TLS session reuse",
            ),
            _ => (
                "the server's ports for passive data connections are not open to us: its firewall \
                 or address translation lets only the control port through"
                    .to_owned(),
                format!(
                    "ask the partner to open the server's passive port range to our addresses \
                     (`layover integration kit {name}` names them), or use active mode: {}",
                    self.set("--transfer active --active-ports 50000-50100")
                ),
            ),
        }
    }

    /// Faults of files and folders, and those that no other line is about.
    fn files(&self) -> Pair {
        match &self.error.fault {
            RemoteFault::NotFound => pair(
                "the path is another one there: capital letters count, and some servers begin at \
                 the account's own folder",
                format!(
                    "ask the partner for the path; change it: layover location set {} LOCATION \
                     --path PATH",
                    self.name()
                ),
            ),
            RemoteFault::NotPermitted => pair(
                "the account has no right to do that there",
                "ask the partner for the right: to list and read where files are fetched; to \
                 write, rename and delete where they are put",
            ),
            RemoteFault::AlreadyExists => pair(
                "a file of this name is there, and the server renames over none",
                format!(
                    "have it fetched or removed there; or allow it to be deleted first: {}",
                    self.set("--delete-then-rename yes")
                ),
            ),
            RemoteFault::NoSpace => pair(
                "the partner's disk is full, or the account's quota is used up",
                "ask the partner for room",
            ),
            RemoteFault::Busy => pair(
                "somebody has the file open, or the server is overloaded",
                "try again later",
            ),
            RemoteFault::Unsupported { .. } => pair(
                "the server is set up without it, or is too old for it",
                "ask the partner whether it can be switched on",
            ),
            RemoteFault::Protocol { .. } => pair(
                "what answers is not the server that we expect, or it is broken: a proxy, another \
                 service on this port, another protocol",
                "see that protocol, host and port are right",
            ),
            RemoteFault::OverLimit { .. } => pair(
                "the server sends more than any healthy one does",
                "ask the partner what is wrong with it; a folder with very many files is better \
                 cleared",
            ),
            RemoteFault::NotWritten => pair(
                "the partner's disk is full, or the account's quota is used up: most SFTP \
                 servers give no other reason then",
                "ask the partner for room, or what the server's log says",
            ),
            _ => pair(
                "the server gives no reason that can be understood",
                "ask the partner what the server's log says",
            ),
        }
    }
}
