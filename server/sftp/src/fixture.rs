//! A depot of the calling test's own with one account, and what a client would
//! put on the wire.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use layover_depot::{
    AccountChange, Actor, ByteRate, Depot, Fsync, GateOptions, LimitsChange, LoginAttempt, Network,
    NewAccount, NewEntity, NewNetwork, Options, Proof, Protocol, Protocols, Role, Secret, Session,
    VirtualPath, parse_authorized_keys,
};
use layover_retention::{Keep, ManualClock};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Whose signature is taken for granted: most tests begin behind the login.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

pub(crate) struct World {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
}

impl World {
    /// A depot on SQLite with the account [`USER`].
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-21T04:00:00Z".parse().unwrap()));
        let keep = Keep::from_secs(5 * 86_400).unwrap();
        let depot = Depot::open(Options {
            database_url: format!("sqlite:{}", folder.path().join("layover.db").display()),
            data_dir: folder.path().join("data"),
            homes: folder.path().join("homes"),
            fsync: Fsync::Never,
            keep,
            max_keep: keep,
            partial_keep: keep,
            checksum: layover_depot::Checksum::Off,
            hardened: false,
            gate: GateOptions::open(10),
            clock: Arc::<ManualClock>::clone(&clock),
            role: Role::Server,
        })
        .await
        .unwrap();
        let (actor, registry) = (Actor::new("operator"), depot.registry());
        let entity = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        registry.add_entity(&actor, &entity).await.unwrap();
        let account = NewAccount {
            name: USER.parse().unwrap(),
            entity: entity.name,
            home: None,
            networks: vec![NewNetwork {
                network: Network::Any,
                reason: None,
                until: None,
            }],
            keys: parse_authorized_keys(KEY).unwrap(),
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
        registry.add_account(&actor, &account).await.unwrap();
        depot.refresh().await.unwrap();
        Self {
            depot,
            clock,
            folder,
        }
    }

    pub(crate) async fn session(&self) -> Session {
        let attempt = LoginAttempt {
            user: USER.to_owned(),
            peer: PEER,
            protocol: Protocol::Sftp,
            proof: Proof::Key {
                blob: parse_authorized_keys(KEY).unwrap().remove(0).blob,
                algorithm: "ssh-ed25519".to_owned(),
            },
            first: None,
            client_version: None,
            detail: serde_json::Map::new(),
        };
        self.depot.gate().login(attempt).await.unwrap()
    }

    /// How fast the account's files may move, in both directions, from now on.
    pub(crate) async fn set_rates(&self, rate: Option<ByteRate>) {
        let change = AccountChange {
            limits: LimitsChange {
                upload_rate: Some(rate),
                download_rate: Some(rate),
                ..LimitsChange::default()
            },
            ..AccountChange::default()
        };
        let registry = self.depot.registry();
        let user = USER.parse().unwrap();
        let actor = Actor::new("operator");
        registry
            .change_account(&actor, &user, &change)
            .await
            .unwrap();
        self.depot.refresh().await.unwrap();
    }

    /// What a published file holds.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let home = self.folder.path().join("homes").join(USER);
        std::fs::read(home.join(name)).ok()
    }
}

pub(crate) fn at(path: &str) -> VirtualPath {
    path.parse().unwrap()
}

/// A packet, field by field.
pub(crate) struct Wire(BytesMut);

impl Wire {
    pub(crate) fn new(kind: u8) -> Self {
        let mut out = BytesMut::new();
        out.put_u8(kind);
        Self(out)
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    pub(crate) fn string(mut self, text: impl AsRef<[u8]>) -> Self {
        let text = text.as_ref();
        self.0.put_u32(u32::try_from(text.len()).unwrap());
        self.0.put_slice(text);
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    /// Without its last bytes; kind and number stay.
    pub(crate) fn shortened(mut self, bytes: usize) -> Self {
        self.0.truncate(self.0.len().saturating_sub(bytes).max(5));
        self
    }

    /// With its length in front.
    pub(crate) fn framed(self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(self.0.len()).unwrap());
        out.put(self.0);
        out.freeze()
    }
}
