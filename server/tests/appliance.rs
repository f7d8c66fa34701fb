//! The appliance in this process, with a clock that the test moves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "everything here is a test: what is not as expected must fail it"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layover_client::pgp::{KeyPlan, OwnKey};
use layover_config::Settings;
use layover_depot::{
    AccountName, Actor, Completion, Credential, DeliveryId, EventFilter, EventId, Existing,
    HookAddresses, HookPlain, HookTarget, IntegrationProtocol, IntegrationSettings,
    IntegrationSpec, LoginAttempt, NewAccount, NewEntity, NewNetwork, Proof, Protocol, Protocols,
    Secret, SecretPurpose, UploadMode, VirtualPath, WantedHook, WantedIntegration, timer,
};
use layover_retention::{Clock, ManualClock, Timestamp};
use layover_server::{Addresses, Appliance, StartError};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const PASSWORD: &str = "correct horse battery";

fn settings(dir: &Path, port: u16) -> Settings {
    let text = format!(
        "data_dir = {:?}\n\
         [sftp]\nlisten = \"127.0.0.1\"\nport = {port}\n\
         [ftps]\nlisten = \"127.0.0.1\"\nexplicit_port = 0\nimplicit_port = 0\n\
         [storage]\nfsync = \"never\"\n\
         [console]\nlisten = \"127.0.0.1:0\"\n\
         [retention]\nsweep_every = \"1s\"\n",
        dir.join("data").display().to_string()
    );
    Settings::parse(&text, "test", std::iter::empty()).expect("settings")
}

fn clock_at(text: &str) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(text.parse().expect("a time")))
}

async fn start(dir: &Path, clock: &Arc<ManualClock>) -> Appliance {
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    Appliance::start(settings(dir, 0), clock)
        .await
        .expect("start")
}

async fn stop(appliance: Appliance) {
    appliance.soft_stop();
    timer::timeout(PATIENCE, appliance.stopped())
        .await
        .expect("stop in time");
}

/// Waits until `condition`; the jobs go on meanwhile.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        timer::timeout(PATIENCE, waiting).await.is_ok(),
        "waited in vain for {what}"
    );
}

async fn add_account(appliance: &Appliance, name: &str) {
    let registry = appliance.depot().registry();
    let actor = Actor::new("test");
    let entity = "acme".parse().unwrap();
    registry
        .add_entity(
            &actor,
            &NewEntity {
                name: entity,
                keep: None,
            },
        )
        .await
        .expect("entity");
    let account = NewAccount {
        name: name.parse().unwrap(),
        entity: "acme".parse().unwrap(),
        home: None,
        networks: vec![NewNetwork {
            network: "127.0.0.1".parse().unwrap(),
            reason: None,
            until: None,
        }],
        keys: Vec::new(),
        certificates: Vec::new(),
        password: Some(Secret::new(PASSWORD)),
        protocols: Protocols::ALL,
        auth: layover_depot::AuthPolicy::Any,
        keep: None,
        quota_bytes: None,
        read_only: false,
        tolerant_completion: false,
        publish_on_rename: false,
        collected_keep: None,
        session_reuse: None,
        limits: layover_depot::AccountLimits::default(),
    };
    registry
        .add_account(&actor, &account)
        .await
        .expect("account");
}

async fn upload(appliance: &Appliance, name: &str, path: &str) {
    let attempt = LoginAttempt {
        user: name.to_owned(),
        peer: "127.0.0.1".parse().unwrap(),
        protocol: Protocol::Sftp,
        proof: Proof::Password(Secret::new(PASSWORD)),
        first: None,
        client_version: None,
        detail: serde_json::Map::new(),
    };
    let session = appliance
        .depot()
        .gate()
        .login(attempt)
        .await
        .expect("login");
    let path = VirtualPath::parse(path.as_bytes()).unwrap();
    let permit = session
        .plan_upload(&path, UploadMode::New { exclusive: false })
        .await
        .unwrap();
    let upload = permit.begin().await.expect("begin");
    upload.write_at(0, "content".into()).await.expect("write");
    upload.finish(Completion::Closed).await.expect("finish");
    session.end("test").await;
}

fn stored(dir: &Path, name: &str) -> bool {
    dir.join("data/homes/partner").join(name).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_file_goes_and_its_neighbour_stays() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    add_account(&appliance, "partner").await;
    upload(&appliance, "partner", "/old").await;
    clock.advance(Duration::from_secs(86_400));
    upload(&appliance, "partner", "/young").await;
    clock.advance(Duration::from_secs(4 * 86_400 - 1));
    let sweeps = runs(&appliance, "sweep");
    until("two sweeps", || runs(&appliance, "sweep") >= sweeps + 2).await;
    assert!(stored(dir.path(), "old"), "a second before its time");
    clock.advance(Duration::from_secs(1));
    until("the old file to go", || !stored(dir.path(), "old")).await;
    assert!(stored(dir.path(), "young"));
    stop(appliance).await;
}

fn runs(appliance: &Appliance, name: &str) -> u64 {
    appliance
        .jobs()
        .iter()
        .find(|job| job.name == name)
        .map_or(0, |job| job.runs)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fell_due_during_a_downtime_goes_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    add_account(&appliance, "partner").await;
    upload(&appliance, "partner", "/old").await;
    stop(appliance).await;
    assert!(stored(dir.path(), "old"));
    let appliance = start(dir.path(), &clock_at("2026-03-12T09:00:00Z")).await;
    until("the old file to go", || !stored(dir.path(), "old")).await;
    stop(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_no_account_allows_gets_no_byte_and_others_get_the_banner() {
    let dir = tempfile::tempdir().unwrap();
    let appliance = start(dir.path(), &clock_at("2026-03-02T09:00:00Z")).await;
    let address = appliance.addresses().sftp.expect("SFTP is served");
    let first_bytes = move || {
        let mut bytes = [0_u8; 8];
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match stream.read(&mut bytes) {
            Ok(count) => bytes.get(..count).unwrap_or_default().to_vec(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                Vec::new()
            }
        }
    };
    assert!(
        tokio::task::spawn_blocking(first_bytes)
            .await
            .unwrap()
            .is_empty()
    );
    add_account(&appliance, "partner").await;
    appliance.depot().refresh().await.expect("refresh");
    assert_eq!(
        tokio::task::spawn_blocking(first_bytes).await.unwrap(),
        b"SSH-2.0-"
    );
    stop(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_warned_of_and_served() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2027-01-01T00:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    let made = appliance.addresses().tls_certificate.clone().unwrap();
    assert_eq!(made.warning(clock.now()), None);
    stop(appliance).await;

    let clock = clock_at("2037-02-01T00:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    let kept = appliance.addresses().tls_certificate.clone().unwrap();
    assert_eq!(kept, made);
    assert!(kept.warning(clock.now()).unwrap().contains("EXPIRED"));
    let address = appliance.addresses().ftps.expect("FTPS is served");
    assert!(TcpStream::connect(address).is_ok());
    stop(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_frees_port_lock_and_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    let address = appliance.addresses().sftp.expect("SFTP is served");
    let data_dir = dir.path().join("data");
    let written = Addresses::read(&data_dir).unwrap();
    assert_eq!(written.as_ref(), Some(appliance.addresses()));
    assert!(written.is_some_and(|addresses| addresses.process_is_alive()));
    stop(appliance).await;
    assert_eq!(Addresses::read(&data_dir).unwrap(), None);
    std::net::TcpListener::bind(address).expect("the port is free");
    stop(start(dir.path(), &clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_appliance_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    let second: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let refused = Appliance::start(settings(dir.path(), 0), second).await;
    assert!(matches!(refused, Err(StartError::Open(_))), "{refused:?}");
    stop(appliance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let lent: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let port = held.local_addr().unwrap().port();
    let failed = Appliance::start(settings(dir.path(), port), lent).await;
    assert!(matches!(failed, Err(StartError::Bind(_))), "{failed:?}");
    stop(start(dir.path(), &clock).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_made_elsewhere_is_noticed_without_being_told() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    add_account(&appliance, "partner").await;
    let depot = appliance.depot().clone();
    until("the network to be let in", || {
        depot.gate().admit("127.0.0.1".parse().unwrap()).is_ok()
    })
    .await;
    let name: AccountName = "partner".parse().unwrap();
    depot
        .registry()
        .remove_account(&Actor::new("test"), &name)
        .await
        .expect("remove");
    until("the network to be kept out", || {
        depot.gate().admit("127.0.0.1".parse().unwrap()).is_err()
    })
    .await;
    stop(appliance).await;
}

/// A receiver without TLS on this machine; away, it ends connections without an answer.
struct Receiver {
    port: u16,
    is_away: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            port: listener.local_addr().unwrap().port(),
            is_away: Arc::default(),
            taken: Arc::default(),
        };
        let (is_away, taken) = (Arc::clone(&receiver.is_away), Arc::clone(&receiver.taken));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().filter_map(Result::ok) {
                if is_away.load(Ordering::SeqCst) {
                    continue;
                }
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                if let Some(event) = read_event(&mut stream) {
                    taken.lock().unwrap().push(event);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            }
        });
        receiver
    }

    /// Subjects and sizes of what it took.
    fn taken(&self) -> Vec<(String, u64)> {
        let taken = self.taken.lock().unwrap();
        let of = |event: &serde_json::Value| {
            let subject = event.get("subject")?.as_str()?.to_owned();
            let size = event.get("detail")?.get("size_bytes")?.as_u64()?;
            Some((subject, size))
        };
        taken.iter().filter_map(of).collect()
    }
}

fn read_event(stream: &mut impl Read) -> Option<serde_json::Value> {
    let mut text = String::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(piece.get(..count)?).ok()?);
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
        if let Some(event) = body.and_then(|body| serde_json::from_str(body).ok()) {
            return Some(event);
        }
    }
}

async fn put(appliance: &Appliance, path: &str, size: usize) {
    let attempt = LoginAttempt {
        user: "partner".to_owned(),
        peer: "127.0.0.1".parse().unwrap(),
        protocol: Protocol::Sftp,
        proof: Proof::Password(Secret::new(PASSWORD)),
        first: None,
        client_version: None,
        detail: serde_json::Map::new(),
    };
    let gate = appliance.depot().gate();
    let session = gate.login(attempt).await.expect("login");
    let path = VirtualPath::parse(path.as_bytes()).unwrap();
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&path, mode).await.unwrap();
    let upload = permit.begin().await.expect("begin");
    let content = vec![b'x'; size];
    upload.write_at(0, content.into()).await.expect("write");
    upload.finish(Completion::Closed).await.expect("finish");
    session.end("test").await;
}

/// Lets time pass in steps; the jobs that follow and send run in each of them.
async fn pass(appliance: &Appliance, clock: &ManualClock, step_s: u64, steps: u32) {
    for _ in 0..steps {
        let before = ["seal", "events", "hooks"].map(|name| runs(appliance, name));
        clock.advance(Duration::from_secs(step_s));
        until("the jobs to run", || {
            let now = ["seal", "events", "hooks"].map(|name| runs(appliance, name));
            now.iter().zip(before).all(|(now, before)| *now > before)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_for_an_hour_is_told_everything_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-02T09:00:00Z");
    let appliance = start(dir.path(), &clock).await;
    add_account(&appliance, "partner").await;
    let receiver = Receiver::start();
    let hook = WantedHook {
        name: "crm".parse().unwrap(),
        target: HookTarget {
            url: format!("http://127.0.0.1:{}/", receiver.port)
                .parse()
                .unwrap(),
            authorities: None,
            plain: HookPlain::ThisMachine,
            addresses: HookAddresses::Usual,
        },
        entity: None,
        kinds: vec!["file.arrived".parse().unwrap()],
        secret: Credential::Value(Secret::new("a secret of some length")),
    };
    let registry = appliance.depot().registry();
    registry.add_hook(&Actor::new("test"), &hook).await.unwrap();

    receiver.is_away.store(true, Ordering::SeqCst);
    let mut sizes = 0;
    for _ in 0..5 {
        for path in ["/a", "/b", "/c"] {
            sizes += 1;
            put(&appliance, path, sizes).await;
        }
        pass(&appliance, &clock, 720, 1).await;
    }
    pass(&appliance, &clock, 2, 3).await;
    assert!(receiver.taken().is_empty());
    let events = appliance.depot().events();
    let undelivered = || events.undelivered(None, (EventId(0), DeliveryId(0)), 100);
    assert_eq!(undelivered().await.unwrap().len(), 15);

    receiver.is_away.store(false, Ordering::SeqCst);
    pass(&appliance, &clock, 600, 4).await;
    let told = || {
        let taken = receiver.taken();
        let distinct: std::collections::BTreeSet<_> = taken.iter().map(|(_, size)| *size).collect();
        distinct.len()
    };
    until("everything to be told", || told() == 15).await;
    // Time goes by in leaps here, over leases of requests that are out: what was sent again
    // for that comes with what it was the first time.
    let taken = receiver.taken();
    for path in ["/a", "/b", "/c"] {
        let subject = format!("file:partner:{path}");
        let of_it = taken.iter().filter(|(of, _)| *of == subject);
        let mut sizes: Vec<_> = of_it.map(|(_, size)| *size).collect();
        assert!(sizes.is_sorted(), "{taken:?}");
        sizes.dedup();
        assert_eq!(sizes.len(), 5, "{taken:?}");
    }
    stop(appliance).await;
}

/// An integration `bank` with a PGP key and a TLS certificate of ours, in a file, that end
/// on that day.
async fn add_bank(appliance: &Appliance, dir: &Path, ends: (i32, u8, u8)) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut plan = rcgen::CertificateParams::new(vec!["us.example".to_owned()]).unwrap();
    plan.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
    let certificate = dir.join("us.pem");
    std::fs::write(&certificate, plan.self_signed(&key).unwrap().pem()).unwrap();

    let mut settings = IntegrationSettings::default();
    let reference = format!("file:{}", certificate.display());
    settings.tls.client_certificate = Some(reference.parse().unwrap());
    let wanted = WantedIntegration {
        spec: IntegrationSpec {
            name: "bank".parse().unwrap(),
            display_name: "Bank".parse().unwrap(),
            entity: "acme".parse().unwrap(),
            protocol: IntegrationProtocol::Ftps,
            host: "ftp.example.com".parse().unwrap(),
            own_port: None,
            username: "us".parse().unwrap(),
            settings,
        },
        secrets: Vec::new(),
        locations: None,
        host_keys: None,
    };
    let (registry, actor) = (appliance.depot().registry(), Actor::new("test"));
    registry.add_integration(&actor, &wanted).await.unwrap();
    let (year, month, day) = ends;
    let made = OwnKey::generate(&KeyPlan {
        user_id: "Layover bank",
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        expires_at: Some(
            format!("{year}-{month:02}-{day:02}T00:00:00Z")
                .parse()
                .unwrap(),
        ),
    })
    .unwrap();
    registry
        .install_key(
            &actor,
            &wanted.spec.name,
            SecretPurpose::PgpKey,
            Secret::new("never used here"),
            &made.public_armored().unwrap(),
            Existing::Refuse,
        )
        .await
        .unwrap();
}

/// Which of the integration's ends were told, and how many days ahead, in their order.
async fn ends_told(appliance: &Appliance) -> Vec<(String, u64)> {
    let filter = EventFilter {
        limit: 1_000,
        ..EventFilter::default()
    };
    let events = appliance.depot().events().query(&filter).await.unwrap();
    let of_bank = events
        .iter()
        .filter(|event| event.detail.get("integration").is_some());
    let told = of_bank.map(|event| {
        assert_eq!(event.entity, Some("acme".parse().unwrap()));
        let told = |name: &str| event.detail.get(name).unwrap();
        let what = told("what").as_str().unwrap().to_owned();
        (what, told("days_ahead").as_u64().unwrap())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_our_own_keys_and_certificates_are_told_ahead_each_time_once() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock_at("2026-03-01T00:00:00Z");
    let mut appliance = start(dir.path(), &clock).await;
    add_account(&appliance, "partner").await;
    add_bank(&appliance, dir.path(), (2026, 5, 1)).await;

    let mut wanted = Vec::new();
    for (day, ahead) in [
        ("2026-03-31T00:00:00Z", None),
        ("2026-04-01T01:00:00Z", Some(30)),
        ("2026-04-16T23:00:00Z", None),
        ("2026-04-24T01:00:00Z", Some(7)),
        ("2026-04-30T01:00:00Z", Some(1)),
        ("2026-05-02T00:00:00Z", Some(0)),
    ] {
        let day: Timestamp = day.parse().unwrap();
        let before = runs(&appliance, "endings");
        clock.advance(day.duration_since(clock.now()));
        until("ends to be looked at", || {
            runs(&appliance, "endings") > before
        })
        .await;
        if let Some(days) = ahead {
            wanted.extend(["own_key", "client certificate"].map(|what| (what.to_owned(), days)));
        }
        assert_eq!(ends_told(&appliance).await, wanted, "{day}");
        // Another process of the node knows what was told.
        stop(appliance).await;
        appliance = start(dir.path(), &clock).await;
        until("ends to be looked at", || runs(&appliance, "endings") > 0).await;
        assert_eq!(ends_told(&appliance).await, wanted, "{day}");
    }
    stop(appliance).await;
}
