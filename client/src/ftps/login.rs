//! From nothing to a connection that is logged in and set up.

use std::sync::Arc;

use super::command::Command;
use super::control::Control;
use super::dial;
use super::faults::refused;
use super::features::Features;
use super::link::{Link, Passive};
use super::options::{FtpsOptions, Security, TlsVersions};
use super::reply::Reply;
use super::trust::Tls;
use super::wire::Wire;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::witness::{Witness, printable};
use layover_depot::Secret;

/// How often a server may ask us to wait before it greets (120).
const MAX_WAITS: usize = 4;

/// Connects, with these TLS versions, and logs in.
pub(super) async fn open(
    options: &Arc<FtpsOptions>,
    versions: TlsVersions,
    witness: &Witness,
) -> Result<Link, RemoteError> {
    witness.begin();
    let tls = match options.security {
        Security::Plain => None,
        Security::Explicit | Security::Implicit => Some(
            Tls::prepare(options, versions, witness)
                .map_err(|fault| RemoteError::new(Step::Prepare, fault))?,
        ),
    };
    let limits = options.timeouts;
    let tcp = dial::host(
        &options.host,
        options.port(),
        options.source,
        limits.connect,
    )
    .await?;
    witness.note(|seen| {
        seen.server = tcp.peer_addr().ok();
        seen.ours = tcp.local_addr().ok();
        seen.tls_agreed = options.security == Security::Implicit;
    });
    let mut is_tls13 = false;
    let wire = match &tls {
        Some(tls) if options.security == Security::Implicit => {
            let (stream, negotiated) = tls
                .secure(tcp, limits.connect)
                .await
                .map_err(|fault| RemoteError::new(Step::Handshake, fault))?;
            is_tls13 = negotiated.is_tls13;
            Wire::Tls(Box::new(stream))
        }
        _ => Wire::Plain(tcp),
    };
    let mut control =
        Control::new(wire, limits.reply).map_err(|fault| RemoteError::new(Step::Connect, fault))?;
    greeting(&mut control, witness).await?;
    if options.security == Security::Explicit
        && let Some(tls) = &tls
    {
        is_tls13 = auth_tls(&mut control, tls, options, witness).await?;
    }
    identify(&mut control, options).await?;
    witness.note(|seen| seen.logged_in = true);
    if tls.is_some() {
        protect_data(&mut control, options.security).await?;
    }
    let features = set_up(&mut control).await?;
    let home = ask(&mut control, Step::Login, &Command::bare("PWD")).await?;
    Ok(Link {
        home: quoted_path(&home),
        control,
        tls,
        options: Arc::clone(options),
        features,
        passive: Passive::Untried,
        is_tls13,
        full_handshake_accepted: false,
        last_place: None,
        witness: witness.clone(),
    })
}

async fn ask(control: &mut Control, step: Step, command: &Command) -> Result<Reply, RemoteError> {
    control
        .exchange(command)
        .await
        .map_err(|fault| RemoteError::new(step, fault))
}

async fn greeting(control: &mut Control, witness: &Witness) -> Result<(), RemoteError> {
    let step = Step::Connect;
    for _ in 0..=MAX_WAITS {
        let reply = control
            .greeting()
            .await
            .map_err(|fault| RemoteError::new(step, fault))?;
        witness.note(|seen| seen.greeting = Some(printable(&reply.words())));
        if reply.is_positive() {
            return Ok(());
        }
        if !reply.is_preliminary() {
            return Err(refused(step, &reply));
        }
    }
    Err(RemoteError::new(step, RemoteFault::Busy))
}

/// AUTH TLS (RFC 4217 s.4). Without it nothing else is sent.
async fn auth_tls(
    control: &mut Control,
    tls: &Tls,
    options: &FtpsOptions,
    witness: &Witness,
) -> Result<bool, RemoteError> {
    let step = Step::Handshake;
    let fail = |fault| RemoteError::new(step, fault);
    let reply = ask(control, step, &Command::with("AUTH", "TLS")).await?;
    if reply.code != 234 {
        return Err(match reply.code {
            421 => refused(Step::Connect, &reply),
            _ => fail(RemoteFault::TlsRefused).with_words(&reply.words()),
        });
    }
    witness.note(|seen| seen.tls_agreed = true);
    let tcp = match control.take_wire().map_err(fail)? {
        Wire::Plain(tcp) => tcp,
        Wire::Tls(_) => return Err(fail(RemoteFault::TlsRefused)),
    };
    let (stream, negotiated) = tls
        .secure(tcp, options.timeouts.connect)
        .await
        .map_err(fail)?;
    control.put_wire(Wire::Tls(Box::new(stream)));
    Ok(negotiated.is_tls13)
}

async fn identify(control: &mut Control, options: &FtpsOptions) -> Result<(), RemoteError> {
    let step = Step::Login;
    let unusable = |what: &str| {
        let detail = format!("the {what} contains NUL, CR or LF");
        RemoteError::new(Step::Prepare, RemoteFault::Settings { detail })
    };
    let user = Command::secret("USER", &Secret::new(options.username.as_bytes()))
        .ok_or_else(|| unusable("user name"))?;
    let password =
        Command::secret("PASS", &options.password).ok_or_else(|| unusable("password"))?;
    let mut reply = ask(control, step, &user).await?;
    if reply.code == 331 {
        // A server that ends the connection instead of saying no has said no
        // (pure-ftpd after several tries), but it may as well have died: the
        // connection's end is told as it is.
        reply = ask(control, step, &password).await?;
    }
    if reply.is_positive() {
        return Ok(());
    }
    // Some servers repeat what they were sent, and what they say is told and kept.
    Err(refused(step, &reply.without(options.password.expose())))
}

/// PBSZ and PROT (RFC 4217 s.9): data connections are protected, too.
async fn protect_data(control: &mut Control, security: Security) -> Result<(), RemoteError> {
    let step = Step::Login;
    // PBSZ must come first and means nothing with TLS: its reply is of no interest.
    ask(control, step, &Command::with("PBSZ", "0")).await?;
    let reply = ask(control, step, &Command::with("PROT", "P")).await?;
    // Servers of the implicit mode that do not know PROT protect data without it.
    let is_implied = security == Security::Implicit && reply.is_unknown_command();
    if reply.is_positive() || is_implied {
        return Ok(());
    }
    Err(RemoteError::new(step, RemoteFault::TlsRefused).with_words(&reply.words()))
}

/// FEAT, UTF-8 names, SHA-256, binary files.
async fn set_up(control: &mut Control) -> Result<Features, RemoteError> {
    let step = Step::Login;
    let reply = ask(control, step, &Command::bare("FEAT")).await?;
    let mut features = if reply.is_positive() {
        Features::read(&reply)
    } else {
        Features::UNSAID
    };
    if features.utf8 {
        // A server that lists UTF8 may have it on always and know no OPTS for it.
        ask(control, step, &Command::with("OPTS", "UTF8 ON")).await?;
    }
    if features.hash_sha256 {
        let reply = ask(control, step, &Command::with("OPTS", "HASH SHA-256")).await?;
        features.hash_sha256 = reply.is_positive();
    }
    // RFC 959 s.3.1.1.1: the default is ASCII, which changes line ends.
    let reply = ask(control, step, &Command::with("TYPE", "I")).await?;
    if !reply.is_positive() {
        let what = "binary transfers (TYPE I)";
        return Err(
            RemoteError::new(step, RemoteFault::Unsupported { what }).with_words(&reply.words())
        );
    }
    Ok(features)
}

/// The path in a 257 reply: in quotes, with quotes inside it doubled.
fn quoted_path(reply: &Reply) -> Option<Vec<u8>> {
    if reply.code != 257 {
        return None;
    }
    let text = super::command::unescaped(reply.first());
    let start = text.iter().position(|byte| *byte == b'"')?;
    let mut path = Vec::new();
    let mut bytes = text.into_iter().skip(start + 1).peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
            return (!path.is_empty()).then_some(path);
        }
        path.push(byte);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_after_login_is_read_as_bytes() {
        for (text, path) in [
            (&b"\"/\" is the current directory"[..], Some(&b"/"[..])),
            (b"\"/a\"\"b\" is current", Some(b"/a\"b")),
            (b"\"C:\\in\"", Some(b"C:\\in")),
            (b"\"/caf\xe9 \xff\xff\"", Some(b"/caf\xe9 \xff")),
            (b"\"\"", None),
            (b"\"/open", None),
            (b"/ is current", None),
        ] {
            let reply = Reply {
                code: 257,
                lines: vec![text.to_vec()],
            };
            assert_eq!(quoted_path(&reply).as_deref(), path, "{text:?}");
        }
    }
}
