//! rustls' own client against the binding, both versions, on loopback.

use std::future::poll_fn;

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

/// As [`client`], with a certificate of its own.
pub(crate) fn certified_client(
    identity: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
    certificate: &Certified,
) -> ClientConfig {
    let mut config = client(identity, version);
    config.client_auth_cert_resolver = Arc::new(Presenting(certificate.presented()));
    config
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    pub(crate) pem: String,
    key: Arc<dyn rustls::sign::SigningKey>,
}

impl Certified {
    /// One that signed itself, valid in 2026.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self {
            chain: vec![certificate.der().clone()],
            pem: certificate.pem(),
            key: provider().key_provider.load_private_key(der).unwrap(),
        }
    }

    /// A chain that somebody shows who has not its key.
    pub(crate) fn stolen() -> Self {
        Self {
            chain: Self::new("partner").chain,
            ..Self::new("thief")
        }
    }

    fn presented(&self) -> Arc<CertifiedKey> {
        Arc::new(CertifiedKey::new(self.chain.clone(), Arc::clone(&self.key)))
    }
}

/// Shows it to every server that asks.
#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Presenting {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
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
    poll_fn(|cx| served.poll_send(cx, b"x")).await.unwrap();
    poll_fn(|cx| served.poll_flush(cx)).await.unwrap();
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
        let negotiated = control(&tls.control(ClientCertificates::Ignored).unwrap(), &config).await;
        assert_eq!(negotiated.suite, expected, "{version:?}");
    }
}

#[tokio::test]
async fn a_resumed_data_connection_is_bound_to_its_control_connection() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let session = tls.control(ClientCertificates::Ignored).unwrap();
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
    let session = tls.control(ClientCertificates::Ignored).unwrap();
    control(&session, &config).await;
    for _ in 0..20 {
        assert_eq!(data(&session, &config).await.1, Binding::Bound);
    }
    let both = tokio::join!(data(&session, &config), data(&session, &config));
    assert_eq!((both.0.1, both.1.1), (Binding::Bound, Binding::Bound));
}

#[tokio::test]
async fn f15_a_ticket_opens_as_often_as_it_is_shown() {
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

/// A clock for both ends of a TLS connection, set by the test.
#[derive(Debug, Default)]
struct Stepped(AtomicU64);

impl rustls::time_provider::TimeProvider for Stepped {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let since_1970 = Duration::from_secs(self.0.load(Ordering::Relaxed));
        Some(rustls::pki_types::UnixTime::since_unix_epoch(since_1970))
    }
}

/// proftpd#1931: after hours of a session its tickets had expired.
#[tokio::test]
async fn f15_a_session_of_many_days_still_resumes_its_data_connections() {
    const HOUR_S: u64 = 3600;
    for version in VERSIONS {
        let tls = tls();
        // Within the certificate's time.
        let clock = Arc::new(Stepped(AtomicU64::new(1_790_000_000)));
        let mut config = client(&tls.identity(), version);
        config.time_provider = clock.clone();
        let mut session = tls.control(ClientCertificates::Ignored).unwrap();
        let mut served = ServerConfig::clone(&session.config);
        served.time_provider = clock.clone();
        session.config = Arc::new(served);
        control(&session, &config).await;
        // Once for each ticket of TLS 1.3, the second time just before seven days,
        // after which RFC 8446 s.4.6.1 lets no client keep one.
        for hours in [30, 137] {
            clock.0.fetch_add(hours * HOUR_S, Ordering::Relaxed);
            let (negotiated, binding) = data(&session, &config).await;
            assert_eq!(binding, Binding::Bound, "{version:?} {hours} h later");
            assert!(negotiated.resumed);
        }
    }
}

#[tokio::test]
async fn another_sessions_ticket_names_its_owner() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let (a, b) = (
            tls.control(ClientCertificates::Ignored).unwrap(),
            tls.control(ClientCertificates::Ignored).unwrap(),
        );
        control(&a, &config).await;
        let (_, binding) = data(&b, &config).await;
        assert_eq!(binding, Binding::OtherSession(a.id()), "{version:?}");
    }
}

#[tokio::test]
async fn a_client_without_session_is_fresh_and_stays_so() {
    for version in VERSIONS {
        let tls = tls();
        let session = tls.control(ClientCertificates::Ignored).unwrap();
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
        let first = tls.control(ClientCertificates::Ignored).unwrap();
        control(&first, &config).await;
        let second = tls.control(ClientCertificates::Ignored).unwrap();
        assert!(
            !control(&second, &client(&tls.identity(), version))
                .await
                .resumed
        );
        let other = tls.control(ClientCertificates::Ignored).unwrap();
        assert!(!control(&other, &config).await.resumed);
        drop((first, second, other));
        assert_eq!(tls.kept(), (0, 0));
        let later = tls.control(ClientCertificates::Ignored).unwrap();
        assert_eq!(data(&later, &config).await.1, Binding::Fresh, "{version:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_control_connections() {
    let tls = tls();
    let old = client(&tls.identity(), &TLS13);
    let open = tls.control(ClientCertificates::Ignored).unwrap();
    tls.reload(identity("new.example.com"));
    control(&open, &old).await;
    let session = tls.control(ClientCertificates::Ignored).unwrap();
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
async fn f04_a_failed_handshake_is_a_fault_that_says_why() {
    let tls = tls();
    let session = tls.control(ClientCertificates::Ignored).unwrap();
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
async fn a_client_older_than_tls_1_2_is_called_too_old() {
    let tls = tls();
    let session = tls.control(ClientCertificates::Ignored).unwrap();
    // TLS 1.1 with one suite and no extension, as clients of that time say hello.
    let mut hello = vec![0x03, 0x02];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xc0, 0x14, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let (ours, mut theirs) = duplex(65_536);
    theirs.write_all(&record).await.unwrap();
    let fault = session.accept(ours, LIMIT).await.unwrap_err();
    assert_eq!(fault, HandshakeFault::NoCommonVersion);
    assert!(fault.to_string().contains("too old"));
}

#[tokio::test]
async fn tls_1_2_is_refused_where_1_3_is_the_minimum() {
    let options = TlsOptions {
        min_version: MinVersion::Tls13,
    };
    let tls = Tls::new(options, identity("ftp.example.com"));
    let session = tls.control(ClientCertificates::Ignored).unwrap();
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
    for (text, expected) in [
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "`-----END CERTIFICATE-----` is missing",
        ),
        ("-----BEGIN CERT\n", "`-----BEGIN CERT` is no line"),
    ] {
        let IdentityFault::ChainNotPem { source } = fault(text, &one) else {
            panic!("{text}");
        };
        assert!(source.to_string().contains(expected), "{source}");
    }
}

#[test]
fn a_self_signed_certificate_lasts_ten_years_and_then_warns() {
    let now = Timestamp::from_micros(1_790_000_000 * 1_000_000);
    let pem = self_signed("ftp.example.com", now).unwrap();
    let identity = Identity::from_pem(pem.as_bytes(), pem.as_bytes()).unwrap();
    let day_s = 24 * 60 * 60;
    let after = |days: i64| Timestamp::from_micros((1_790_000_000 + days * day_s) * 1_000_000);
    let validity = identity.validity();
    assert_eq!(validity.warning(after(3_630)), None);
    let (from, at) = (validity.not_before, validity.not_after);
    assert_eq!(
        validity.warning(after(3_660)),
        Some(IdentityWarning::Expired { at })
    );
    assert_eq!(validity.days_left(after(3_660)), 0);
    assert_eq!(
        validity.warning(after(-40)),
        Some(IdentityWarning::NotYetValid { from })
    );
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(validity.warning(at.saturating_sub(day * 14)), None);
    let late = at.saturating_sub(day * 14 - Duration::from_secs(1));
    assert_eq!(
        validity.warning(late),
        Some(IdentityWarning::ExpiresSoon { at, days: 13 })
    );
    assert_eq!(identity.fingerprint().len(), 64);
}

/// Made by `openssl x509 -req -in CSR -signkey KEY`, without extensions.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJTCBzQIUQzJ5p3taXWQr25zMNiXcEHmMCL4wCgYIKoZIzj0EAwIwFTETMBEG
A1UEAwwKdjEuZXhhbXBsZTAgFw0yNjExMjExNzUyMTJaGA8yMTI2MTAyODE3NTIx
MlowFTETMBEGA1UEAwwKdjEuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABHxe10QkiAwzdJS+fK6Tj4uf1VYNLUalVMcbcJyGOPPa9uw6drlrPd/6O1hv
IQLJwslem81nVwL4QMpY4qHwy7YwCgYIKoZIzj0EAwIDRwAwRAIgYCZ7yuaAZ+UR
HnRDEBkk9W7t5zivD6sRyndMTFReyD0CIHpTiEYWeq+moy71ITmDMNSuTHFsF6ib
yrwmq1TQOpWK
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_of_version_1_is_refused_with_what_to_do() {
    let key = self_signed("v1.example", Timestamp::from_micros(0)).unwrap();
    let fault = Identity::from_pem(VERSION_1.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(fault, IdentityFault::OldVersion), "{fault:?}");
    assert!(fault.to_string().contains("-extfile"), "{fault}");
}

#[tokio::test]
async fn a_certificate_is_taken_where_it_is_asked_for_and_only_on_the_control_connection() {
    for version in VERSIONS {
        let tls = tls();
        let certified = Certified::new("partner");
        let config = certified_client(&tls.identity(), version, &certified);
        let session = tls.control(ClientCertificates::Requested).unwrap();
        let negotiated = control(&session, &config).await;
        let expected = PresentedCertificate::proven(&certified.chain);
        assert_eq!(negotiated.client_certificate, expected, "{version:?}");
        // A data connection that resumes is as good as ever.
        assert_eq!(data(&session, &config).await.1, Binding::Bound);
        // One that does not is not asked.
        let fresh = certified_client(&tls.identity(), version, &certified);
        let (negotiated, binding) = data(&session, &fresh).await;
        assert_eq!(binding, Binding::Fresh, "{version:?}");
        assert_eq!(negotiated.client_certificate, None, "{version:?}");
        // Nor is anybody where no account is opened by one.
        let session = tls.control(ClientCertificates::Ignored).unwrap();
        let negotiated = control(&session, &config).await;
        assert_eq!(negotiated.client_certificate, None, "{version:?}");
    }
}

#[tokio::test]
async fn whoever_has_no_certificate_is_asked_in_vain() {
    for version in VERSIONS {
        let tls = tls();
        let config = client(&tls.identity(), version);
        let session = tls.control(ClientCertificates::Requested).unwrap();
        let negotiated = control(&session, &config).await;
        assert_eq!(negotiated.client_certificate, None, "{version:?}");
        assert_eq!(data(&session, &config).await.1, Binding::Bound);
    }
}

/// What the handshake of this client ends with.
async fn refused(
    certified: &Certified,
    version: &'static rustls::SupportedProtocolVersion,
) -> HandshakeFault {
    let tls = tls();
    let config = certified_client(&tls.identity(), version, certified);
    let session = tls.control(ClientCertificates::Requested).unwrap();
    let (ours, theirs) = duplex(262_144);
    let client = async {
        // With TLS 1.3 the client is done before the server has judged.
        if let Ok(mut stream) = connect(&config, theirs).await {
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    let (served, ()) = tokio::join!(session.accept(ours, LIMIT), client);
    served.unwrap_err()
}

#[tokio::test]
async fn a_certificate_is_worth_nothing_without_its_key() {
    for version in VERSIONS {
        let fault = refused(&Certified::stolen(), version).await;
        assert!(
            matches!(fault, HandshakeFault::ClientCertificate { .. }),
            "{version:?}: {fault}"
        );
    }
}

#[tokio::test]
async fn a_chain_holds_a_few_certificates_and_no_more() {
    use super::client::{MAX_CHAIN_BYTES, MAX_INTERMEDIATES};
    // What is sent along may be anything; its length alone counts here.
    let filler = |bytes: usize| rustls_pki_types::CertificateDer::from(vec![0; bytes]);
    let leaf = Certified::new("partner");
    let length = leaf.chain[0].len();
    let with = |more: Vec<_>| {
        let mut certified = leaf.clone();
        certified.chain.extend(more);
        certified
    };
    for version in VERSIONS {
        for most in [
            with(vec![filler(100); MAX_INTERMEDIATES]),
            with(vec![filler(MAX_CHAIN_BYTES - length)]),
        ] {
            let tls = tls();
            let config = certified_client(&tls.identity(), version, &most);
            let session = tls.control(ClientCertificates::Requested).unwrap();
            let negotiated = control(&session, &config).await;
            assert!(negotiated.client_certificate.is_some(), "{version:?}");
            // The ticket holds it, too.
            assert_eq!(data(&session, &config).await.1, Binding::Bound);
        }
        for more in [
            with(vec![filler(100); MAX_INTERMEDIATES + 1]),
            with(vec![filler(MAX_CHAIN_BYTES - length + 1)]),
        ] {
            let fault = refused(&more, version).await;
            let is_named = matches!(fault, HandshakeFault::ClientCertificate { .. });
            assert!(is_named, "{version:?}: {fault}");
        }
    }
}
