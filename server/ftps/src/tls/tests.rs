//! rustls' own client against the binding, both versions, on loopback.

use layover_retention::Timestamp;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{ProducesTickets, StoresServerSessions};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn identity(name: &str) -> Identity {
    let now = Timestamp::from_micros(1_790_000_000 * 1_000_000);
    let pem = self_signed(name, now).unwrap();
    Identity::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap()
}

pub(crate) fn tls() -> Tls {
    Tls::new(TlsOptions::default(), identity("ftp.example.com"))
}

/// A client that trusts `identity` and remembers sessions.
pub(crate) fn client(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(identity.key.cert[0].clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(64);
    config
}

pub(crate) async fn connect<S>(
    config: &ClientConfig,
    stream: S,
) -> std::io::Result<tokio_rustls::client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config.clone()))
        .connect(name, stream)
        .await
}

/// A control connection; its client has taken the tickets.
async fn control(control: &ControlTls, config: &ClientConfig) -> Negotiated {
    let (ours, theirs) = duplex(65_536);
    let (served, connected) = tokio::join!(control.accept(ours, LIMIT), connect(config, theirs));
    let (mut served, negotiated) = served.unwrap();
    let mut connected = connected.unwrap();
    served.write_all(b"220").await.unwrap();
    served.flush().await.unwrap();
    connected.read_exact(&mut [0; 3]).await.unwrap();
    negotiated
}

/// A data connection; its client has read what the server sent.
async fn data(control: &ControlTls, config: &ClientConfig) -> (Negotiated, Binding) {
    let (ours, theirs) = duplex(65_536);
    let (served, connected) =
        tokio::join!(control.data().accept(ours, LIMIT), connect(config, theirs));
    let (mut served, negotiated, binding) = served.unwrap();
    let mut connected = connected.unwrap();
    served.write_all(b"x").await.unwrap();
    served.flush().await.unwrap();
    connected.read_exact(&mut [0; 1]).await.unwrap();
    (negotiated, binding)
}

#[tokio::test]
async fn our_order_of_suites_counts() {
    for (version, expected) in [
        (&TLS12, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (&TLS13, "TLS13_AES_256_GCM_SHA384"),
    ] {
        let tls = tls();
        let mut reversed = CryptoProvider::clone(&provider());
        reversed.cipher_suites.reverse();
        let mut roots = RootCertStore::empty();
        roots.add(tls.identity().key.cert[0].clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(reversed))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let negotiated = control(&tls.control().unwrap(), &config).await;
        assert_eq!(negotiated.suite, expected, "{version:?}");
    }
}

#[tokio::test]
async fn a_resumed_data_connection_is_bound_to_its_control_connection() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let session = tls.control().unwrap();
        assert!(!control(&session, &config).await.resumed);
        let (negotiated, binding) = data(&session, &config).await;
        assert_eq!(binding, Binding::Bound, "{version:?}");
        assert!(negotiated.resumed);
    }
}

#[tokio::test]
async fn one_session_serves_many_data_connections() {
    // rustls' client uses a ticket of TLS 1.3 only once, so TLS 1.2 shows it.
    let tls = tls();
    let config = client(&tls.identity(), &TLS12);
    let session = tls.control().unwrap();
    control(&session, &config).await;
    for _ in 0..20 {
        assert_eq!(data(&session, &config).await.1, Binding::Bound);
    }
    let both = tokio::join!(data(&session, &config), data(&session, &config));
    assert_eq!((both.0.1, both.1.1), (Binding::Bound, Binding::Bound));
}

#[tokio::test]
async fn a_ticket_opens_as_often_as_it_is_shown() {
    let register = Arc::new(Register::default());
    let enrolled = Arc::new(Enrolled::new(&register, ControlId(7)).unwrap());
    let ticket = Issuing(Arc::clone(&enrolled)).encrypt(b"secret").unwrap();
    for _ in 0..3 {
        let resuming = Resuming::new(&register);
        assert_eq!(
            StoresServerSessions::take(&resuming, &ticket).as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(resuming.seen(), Some(ControlId(7)));
    }
    let mut damaged = ticket.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let resuming = Resuming::new(&register);
    assert_eq!(StoresServerSessions::take(&resuming, &damaged), None);
    assert_eq!(StoresServerSessions::take(&resuming, &ticket[..9]), None);
    assert_eq!(resuming.seen(), None);
}

#[tokio::test]
async fn another_sessions_ticket_names_its_owner() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let (a, b) = (tls.control().unwrap(), tls.control().unwrap());
        control(&a, &config).await;
        let (_, binding) = data(&b, &config).await;
        assert_eq!(binding, Binding::OtherSession(a.id()), "{version:?}");
    }
}

#[tokio::test]
async fn a_client_without_session_is_fresh_and_stays_so() {
    for version in VERSIONS {
        let tls = tls();
        let session = tls.control().unwrap();
        control(&session, &client(&tls.identity(), version)).await;
        let stranger = client(&tls.identity(), version);
        for _ in 0..2 {
            let (negotiated, binding) = data(&session, &stranger).await;
            assert_eq!(binding, Binding::Fresh, "{version:?}");
            assert!(!negotiated.resumed);
        }
    }
}

#[tokio::test]
async fn a_control_connection_resumes_nothing_and_its_session_ends_with_it() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let first = tls.control().unwrap();
        control(&first, &config).await;
        let second = tls.control().unwrap();
        assert!(
            !control(&second, &client(&tls.identity(), version))
                .await
                .resumed
        );
        let other = tls.control().unwrap();
        assert!(!control(&other, &config).await.resumed);
        drop((first, second, other));
        assert_eq!(tls.kept(), (0, 0));
        let later = tls.control().unwrap();
        assert_eq!(data(&later, &config).await.1, Binding::Fresh, "{version:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_control_connections() {
    let tls = tls();
    let old = client(&tls.identity(), &TLS13);
    let open = tls.control().unwrap();
    tls.reload(identity("new.example.com"));
    control(&open, &old).await;
    let session = tls.control().unwrap();
    control(&session, &client(&tls.identity(), &TLS13)).await;
    let (ours, theirs) = duplex(65_536);
    let (served, _) = tokio::join!(session.accept(ours, LIMIT), connect(&old, theirs));
    assert!(matches!(
        served.unwrap_err(),
        HandshakeFault::Distrusted { .. }
    ));
}

/// F04: each of these panicked an earlier engine's task.
#[tokio::test(start_paused = true)]
async fn a_failed_handshake_is_a_fault_that_says_why() {
    let tls = tls();
    let session = tls.control().unwrap();
    let plaintext = async {
        let (ours, mut theirs) = duplex(65_536);
        theirs.write_all(b"USER anonymous\r\n").await.unwrap();
        session.data().accept(ours, LIMIT).await.unwrap_err()
    };
    assert_eq!(plaintext.await, HandshakeFault::Plaintext);
    let cut = async {
        let (ours, mut theirs) = duplex(65_536);
        theirs.write_all(b"\x16\x03\x01").await.unwrap();
        drop(theirs);
        session.data().accept(ours, LIMIT).await.unwrap_err()
    };
    assert_eq!(cut.await, HandshakeFault::Cut);
    let (ours, _silent) = duplex(65_536);
    let silent = session.data().accept(ours, LIMIT).await;
    assert_eq!(silent.unwrap_err(), HandshakeFault::TimedOut);
}

#[tokio::test]
async fn tls_1_2_is_refused_where_1_3_is_the_minimum() {
    let options = TlsOptions {
        min_version: MinVersion::Tls13,
        ..TlsOptions::default()
    };
    let tls = Tls::new(options, identity("ftp.example.com"));
    let session = tls.control().unwrap();
    let config = client(&tls.identity(), &TLS12);
    let (ours, theirs) = duplex(65_536);
    let (served, _) = tokio::join!(session.accept(ours, LIMIT), connect(&config, theirs));
    assert_eq!(served.unwrap_err(), HandshakeFault::NoCommonVersion);
}

#[test]
fn a_key_of_another_certificate_and_damaged_texts_are_named() {
    let now = Timestamp::from_micros(1_790_000_000 * 1_000_000);
    let one = self_signed("a.example", now).unwrap();
    let two = self_signed("b.example", now).unwrap();
    let fault =
        |chain: &str, key: &str| Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(fault(&one, &two), IdentityFault::KeyMismatch));
    assert!(matches!(fault("", &one), IdentityFault::NoCertificate));
    assert!(matches!(fault(&one, ""), IdentityFault::NoKey));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(
        fault(&one, encrypted),
        IdentityFault::KeyEncrypted
    ));
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        fault(hollow, &one),
        IdentityFault::NotACertificate { position: 1 }
    ));
}

#[test]
fn a_self_signed_certificate_lasts_ten_years_and_then_warns() {
    let now = Timestamp::from_micros(1_790_000_000 * 1_000_000);
    let pem = self_signed("ftp.example.com", now).unwrap();
    let identity = Identity::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap();
    let day_s = 24 * 60 * 60;
    let after = |days: i64| Timestamp::from_micros((1_790_000_000 + days * day_s) * 1_000_000);
    assert_eq!(identity.warning(after(3_640)), None);
    assert_eq!(
        identity.warning(after(3_660)),
        Some(IdentityWarning::Expired)
    );
    assert_eq!(
        identity.warning(after(-40)),
        Some(IdentityWarning::NotYetValid)
    );
    assert_eq!(identity.fingerprint().len(), 64);
}

/// A certificate for `usage` with this name, signed by a CA; both, the CA as PEM.
fn issued(usage: rcgen::ExtendedKeyUsagePurpose, name: &str) -> (String, ClientCertificate) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let presented = ClientCertificate::new(&[certificate.der().clone()]).unwrap();
    (ca_pem, presented)
}

#[test]
fn a_ca_vouches_for_its_own_clients_by_name() {
    use super::client::{ClientRoots, VouchFault};
    use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    let now_s = 1_790_000_000;
    let (ca, partner) = issued(ClientAuth, "partner");
    let roots = ClientRoots::from_pem(ca.as_bytes()).unwrap();
    assert_eq!(roots.vouch(&partner, "partner", now_s), Ok(()));
    assert_eq!(roots.vouch(&partner, "partner.example", now_s), Ok(()));
    let other = roots.vouch(&partner, "other", now_s);
    assert_eq!(other, Err(VouchFault::OtherName));
    let (_, foreign) = issued(ClientAuth, "partner");
    let untrusted = roots.vouch(&foreign, "partner", now_s);
    assert!(matches!(untrusted, Err(VouchFault::Untrusted { .. })));
    let (ca, server) = issued(ServerAuth, "partner");
    let roots = ClientRoots::from_pem(ca.as_bytes()).unwrap();
    let wrong_use = roots.vouch(&server, "partner", now_s);
    assert!(matches!(wrong_use, Err(VouchFault::Untrusted { .. })));
    assert!(ClientRoots::from_pem(b"").is_err());
}
