//! What operators ask of the store, and what runs by itself.

use super::{
    HERE, THERE, account_row, entity, entry, household, keep, ledger, name, path, rule, time,
};
use crate::account::{AccountChange, Enabled, NewEntity};
use crate::ledger::ApplianceKeep;
use crate::store::Store;
use crate::vfs::StorageId;
use crate::{
    AccountLimits, AuthPolicy, AuthorizedCertificate, AuthorizedKey, ByteRate, CertificateUse,
    EntityName, FileId, FolderPermission, KeyUse, LimitsChange, NewCertificate, NewNetwork,
    Protocol, Protocols, Rights, SessionLimit, SessionReuse,
};

pub(super) async fn entities_and_accounts(store: &Store) {
    let first = store.generation().await.unwrap();
    let new = NewEntity {
        name: name("e1"),
        keep: Some(keep(50)),
    };
    let id = store
        .add_entity(&new, time(3), &entry("entity.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_entity(&new, time(4), &entry("entity.add"))
            .await
            .unwrap(),
        None
    );
    let found = store.entity(&new.name).await.unwrap().unwrap();
    assert_eq!(
        (found.id, found.keep, found.created_at),
        (id, Some(keep(50)), time(3))
    );
    assert_eq!(store.entity(&name("unknown")).await.unwrap(), None);
    assert_eq!(store.list_entities().await.unwrap(), [found]);

    let row = account_row("a1", id, "a1");
    let account = store
        .add_account(&row, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_account(&row, &entry("account.add"))
            .await
            .unwrap(),
        None
    );
    let stranger = entity(store, "e2").await;
    let in_foreign_home = account_row("a2", stranger, "a1");
    assert_eq!(
        store
            .add_account(&in_foreign_home, &entry("account.add"))
            .await
            .unwrap(),
        None
    );
    let (_, owner) = store.home(&row.home).await.unwrap().unwrap();
    assert_eq!(owner, name::<EntityName>("e1"));
    let names = store.account_names(account).await.unwrap();
    assert_eq!(names, (name("a1"), name("e1")));

    let change = AccountChange {
        protocols: Some(Protocols::of(&[Protocol::Sftp])),
        keep: Some(Some(keep(7))),
        quota_bytes: Some(Some(1 << 40)),
        read_only: Some(true),
        auth: Some(AuthPolicy::KeyAndPassword),
        session_reuse: Some(Some(SessionReuse::Require)),
        limits: LimitsChange {
            max_sessions: Some(SessionLimit::new(7).ok()),
            upload_rate: Some(ByteRate::new(1 << 20).ok()),
            download_rate: Some(ByteRate::new(1 << 21).ok()),
        },
        ..AccountChange::default()
    };
    store
        .change_account(account, &change, rule(), &entry("account.set"))
        .await
        .unwrap();
    store
        .set_enabled(account, Enabled::No, &entry("account.disable"))
        .await
        .unwrap();
    let changed = store.account(&name("a1")).await.unwrap().unwrap();
    assert_eq!(changed.protocols.to_string(), "sftp");
    assert_eq!(
        (changed.keep, changed.quota_bytes),
        (Some(keep(7)), Some(1 << 40))
    );
    assert_eq!(changed.auth, AuthPolicy::KeyAndPassword);
    assert!(changed.read_only && !changed.enabled && !changed.publish_on_rename);
    assert_eq!(changed.session_reuse, Some(SessionReuse::Require));
    let standing = store.standing(&[account]).await.unwrap();
    assert_eq!(standing[0].terms.session_reuse, Some(SessionReuse::Require));
    let limits = AccountLimits {
        max_sessions: SessionLimit::new(7).ok(),
        upload_rate: ByteRate::new(1 << 20).ok(),
        download_rate: ByteRate::new(1 << 21).ok(),
    };
    assert_eq!((changed.limits, standing[0].terms.limits), (limits, limits));
    let cleared = AccountChange {
        keep: Some(None),
        session_reuse: Some(None),
        limits: LimitsChange {
            upload_rate: Some(None),
            ..LimitsChange::default()
        },
        ..AccountChange::default()
    };
    store
        .change_account(account, &cleared, rule(), &entry("account.set"))
        .await
        .unwrap();
    let cleared = store.account(&name("a1")).await.unwrap().unwrap();
    assert_eq!((cleared.keep, cleared.quota_bytes), (None, Some(1 << 40)));
    assert_eq!(cleared.session_reuse, None);
    let limits = AccountLimits {
        upload_rate: None,
        ..limits
    };
    assert_eq!(cleared.limits, limits);
    assert_eq!(store.list_accounts().await.unwrap(), [cleared]);
    assert!(store.generation().await.unwrap() > first);
}

pub(super) async fn credentials_networks_and_permissions(store: &Store) {
    let (_, account, _) = household(store, "keyed").await;
    let key = AuthorizedKey {
        fingerprint: "SHA256:x".to_owned(),
        algorithm: "ssh-ed25519".to_owned(),
        comment: "ünïcode".to_owned(),
        blob: vec![0, 255, 10],
        from: vec![name("!10.0.0.1"), name("10.0.0.0/8")],
        expires_at: Some(time(99)),
        used_for: KeyUse::Login,
        added_at: time(1),
    };
    store
        .add_key(account, &key, &entry("key.add"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .add_key(account, &key, &entry("key.add"))
            .await
            .unwrap(),
        None
    );
    let network = NewNetwork {
        network: name("10.0.0.0/8"),
        reason: Some("why".to_owned()),
        until: None,
    };
    store
        .add_network(account, &network, time(2), &entry("net"))
        .await
        .unwrap()
        .unwrap();
    let again = store
        .add_network(account, &network, time(2), &entry("net"))
        .await
        .unwrap();
    assert_eq!(again, None);
    let later = NewNetwork {
        reason: None,
        until: Some(time(60)),
        ..network.clone()
    };
    store
        .change_network(account, &later, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.live_networks(time(60)).await.unwrap(), []);
    store
        .change_network(account, &network, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    let unknown = NewNetwork {
        network: name("198.51.100.0/24"),
        ..network.clone()
    };
    let missed = store
        .change_network(account, &unknown, &entry("net"))
        .await
        .unwrap();
    assert_eq!(missed, None);
    let limited = NewNetwork {
        network: name("192.0.2.7"),
        reason: None,
        until: Some(time(50)),
    };
    store
        .add_network(account, &limited, time(2), &entry("net"))
        .await
        .unwrap()
        .unwrap();
    for (asking, now, has_first, has_limited) in [
        ("somebody", 49, true, true),
        ("somebody", 50, true, false),
        ("keyed", 49, false, false),
    ] {
        let places = store.places_of_others(asking, time(now)).await.unwrap();
        assert!(places.iter().all(|place| !place.is_same_entity), "{asking}");
        let places: Vec<_> = places.iter().map(|place| place.network).collect();
        assert_eq!(places.contains(&network.network), has_first, "{asking}");
        let is_there = places.contains(&limited.network);
        assert_eq!(is_there, has_limited, "{asking} {now}");
    }
    let permission = FolderPermission {
        path: path("/in"),
        rights: Rights::READ_ONLY,
    };
    store
        .set_permission(account, &permission, &entry("permission"))
        .await
        .unwrap();
    let wider = FolderPermission {
        rights: Rights::ALL,
        ..permission.clone()
    };
    store
        .set_permission(account, &wider, &entry("permission"))
        .await
        .unwrap();
    store
        .set_password(account, Some("hash"), &entry("password"))
        .await
        .unwrap();

    let of_it = |action: &'static str| entry(action).account("keyed").with("auth", "any");
    store.append(&of_it("account.set")).await.unwrap();
    let at = of_it("account.set").at;
    let since = async |since| store.account_changes("keyed", since).await.unwrap();
    let changes = since(at).await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(
        (changes[0].at, changes[0].action.as_str()),
        (at, "account.set")
    );
    assert!(changes[0].fields.iter().any(|field| field == "auth"));
    assert!(since(time(1)).await.is_empty());
    assert!(
        store
            .account_changes("somebody", at)
            .await
            .unwrap()
            .is_empty()
    );

    let row = store.login("keyed").await.unwrap().unwrap();
    assert_eq!(row.password_hash.as_deref(), Some("hash"));
    assert_eq!(row.account.keys, std::slice::from_ref(&key));
    assert_eq!(row.account.auth, AuthPolicy::Any);
    assert!(!store.has_authorities().await.unwrap());
    for (fingerprint, principals) in [("SHA256:y", &[][..]), ("SHA256:z", &["a b", "c"])] {
        let authority = AuthorizedKey {
            fingerprint: fingerprint.to_owned(),
            used_for: KeyUse::Authority {
                principals: principals.iter().map(ToString::to_string).collect(),
            },
            ..key.clone()
        };
        store
            .add_key(account, &authority, &entry("key.add"))
            .await
            .unwrap()
            .unwrap();
        let found = store.login("keyed").await.unwrap().unwrap();
        assert_eq!(found.account.keys.last(), Some(&authority));
        assert!(store.has_authorities().await.unwrap());
        store
            .remove_key(account, fingerprint, &entry("key.remove"))
            .await
            .unwrap()
            .unwrap();
        assert!(!store.has_authorities().await.unwrap());
    }
    let certificate = |fingerprint: &str, used_for| NewCertificate {
        fingerprint: fingerprint.to_owned(),
        subject: "CN=partner".to_owned(),
        der: vec![0x30, 0, 0xff],
        not_before: time(1),
        not_after: time(99),
        used_for,
    };
    let names = "partner,it@acme.example".parse().unwrap();
    let authority = CertificateUse::Authority { names };
    assert!(!store.has_certificates().await.unwrap());
    for (fingerprint, used_for) in [("ab", CertificateUse::Login), ("cd", authority)] {
        let certificate = certificate(fingerprint, used_for);
        let added = entry("certificate.add");
        let add = || store.add_certificate(account, &certificate, time(7), &added);
        assert_eq!(add().await.unwrap(), Some(()));
        assert_eq!(add().await.unwrap(), None);
        let found = store.login("keyed").await.unwrap().unwrap();
        let expected = AuthorizedCertificate {
            fingerprint: certificate.fingerprint,
            subject: certificate.subject,
            der: certificate.der,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            used_for: certificate.used_for,
            added_at: time(7),
        };
        assert_eq!(found.account.certificates.last(), Some(&expected));
    }
    assert!(store.has_certificates().await.unwrap());
    for fingerprint in ["ab", "cd"] {
        let removed = entry("certificate.remove");
        let remove = || store.remove_certificate(account, fingerprint, &removed);
        assert_eq!(remove().await.unwrap(), Some(()));
        assert_eq!(remove().await.unwrap(), None);
    }
    assert!(!store.has_certificates().await.unwrap());
    assert_eq!(row.account.permissions, [wider]);
    assert_eq!(row.account.networks.len(), 2);
    assert!(row.account.has_password);
    assert!(store.login("unknown").await.unwrap().is_none());

    assert_eq!(store.live_networks(time(49)).await.unwrap().len(), 2);
    assert_eq!(
        store.live_networks(time(50)).await.unwrap(),
        [network.network]
    );
    let standing = store.standing(&[account]).await.unwrap();
    assert!(standing.len() == 1 && standing.iter().all(|row| row.enabled));
    store
        .set_enabled(account, Enabled::No, &entry("disable"))
        .await
        .unwrap();
    assert_eq!(store.live_networks(time(1)).await.unwrap(), []);

    store
        .remove_key(account, "SHA256:x", &entry("key.remove"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .remove_key(account, "SHA256:x", &entry("key"))
            .await
            .unwrap(),
        None
    );
    let gone = network.network;
    store
        .remove_network(account, &gone, &entry("net"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        store
            .remove_network(account, &gone, &entry("net"))
            .await
            .unwrap(),
        None
    );
    store
        .remove_permission(account, &path("/in"), &entry("p"))
        .await
        .unwrap()
        .unwrap();
    let again = store
        .remove_permission(account, &path("/in"), &entry("p"))
        .await
        .unwrap();
    assert_eq!(again, None);
    store
        .set_password(account, None, &entry("password"))
        .await
        .unwrap();
    let bare = store.account(&name("keyed")).await.unwrap().unwrap();
    assert!(bare.keys.is_empty() && bare.permissions.is_empty() && !bare.has_password);
}

pub(super) async fn the_storage_of_the_homes(store: &Store) {
    let (ours, theirs) = (StorageId::fresh().unwrap(), StorageId::fresh().unwrap());
    let record = async |storage: &StorageId, replaces: Option<&StorageId>| {
        let entry = entry("homes.storage");
        let recorded = store.record_storage(storage, replaces, time(1), &entry);
        recorded.await.unwrap().is_some()
    };
    assert_eq!(store.homes_storage().await.unwrap(), None);
    assert!(record(&ours, None).await);
    assert!(!record(&theirs, None).await, "the first one holds");
    assert!(!record(&theirs, Some(&theirs)).await);
    assert_eq!(store.homes_storage().await.unwrap().as_ref(), Some(&ours));
    assert!(record(&theirs, Some(&ours)).await);
    assert_eq!(store.homes_storage().await.unwrap(), Some(theirs));

    let needed = async |silent_before| {
        let here = HERE.id();
        let needed = store.storage_is_needed(&here, time(silent_before));
        needed.await.unwrap()
    };
    assert!(!needed(100_000).await, "no file, and no other node");
    store.beat(&HERE.id(), time(100_000)).await.unwrap();
    assert!(!needed(100_000).await, "this node is not another one");
    store.begin_node(&THERE.id(), time(100_000)).await.unwrap();
    assert!(needed(100_000).await);
    assert!(!needed(100_001).await, "it is silent");
    for (silent_before, live) in [(100_000, true), (100_001, false)] {
        let here = HERE.id();
        let others = store.others_live(&here, time(silent_before));
        assert_eq!(others.await.unwrap(), live);
    }
    store.end_node(&THERE.id()).await.unwrap();
    let (_, account, home) = household(store, "mounted").await;
    ledger::stored(store, home, account, "/file", time(1000)).await;
    assert!(needed(100_001).await, "a file is stored");
}

pub(super) async fn a_changed_rule(store: &Store) {
    let (id, account, home) = household(store, "ruled").await;
    ledger::stored(store, home, account, "/file", time(1000)).await;
    let expiry = async || {
        let files = store
            .list_files(home, &path("/"), FileId(0), 10)
            .await
            .unwrap();
        files[0].expires_at.unwrap()
    };
    assert_eq!(expiry().await, time(1100));
    for moved in [1, 0] {
        let answer = store
            .set_entity_keep(id, Some(keep(60)), rule(), &entry("entity.set"))
            .await
            .unwrap();
        assert_eq!(answer, moved);
    }
    assert_eq!(expiry().await, time(1060));
    let own = AccountChange {
        keep: Some(Some(keep(900))),
        ..AccountChange::default()
    };
    for moved in [1, 0] {
        let answer = store
            .change_account(account, &own, rule(), &entry("account.set"))
            .await
            .unwrap();
        assert_eq!(answer, moved);
    }
    assert_eq!(expiry().await, time(1900));
    let tighter = ApplianceKeep {
        keep: keep(10),
        max_keep: keep(500),
    };
    let noted = store
        .apply_rule(tighter, time(1001), &entry("rule"))
        .await
        .unwrap();
    assert_eq!(noted, Some(()));
    assert_eq!(expiry().await, time(1500), "no more than the maximum");
    let same = store
        .apply_rule(tighter, time(1002), &entry("rule"))
        .await
        .unwrap();
    assert_eq!(same, None);
}

pub(super) async fn removed_accounts_and_entities(store: &Store) {
    let (id, account, home) = household(store, "leaving").await;
    ledger::stored(store, home, account, "/file", time(2000)).await;
    let files = async || store.list_files(home, &path("/"), FileId(0), 10).await;
    let mut second = account_row("second", id, "leaving");
    second.takes_files_over = false;
    let refused = store
        .add_account(&second, &entry("account.add"))
        .await
        .unwrap();
    assert_eq!(refused, None, "the home holds a file");
    assert_eq!(
        store
            .remove_entity(id, &entry("entity.remove"))
            .await
            .unwrap(),
        None
    );
    store
        .remove_account(account, time(9), rule(), &entry("gone"))
        .await
        .unwrap()
        .unwrap();
    let twice = store
        .remove_account(account, time(9), rule(), &entry("gone"))
        .await
        .unwrap();
    assert_eq!(twice, None);
    assert_eq!(store.account(&name("leaving")).await.unwrap(), None);
    assert_eq!(
        store.account_names(account).await.unwrap().0,
        name("leaving")
    );
    assert!(
        store
            .standing(&[account])
            .await
            .unwrap()
            .iter()
            .all(|row| !row.enabled)
    );
    assert_eq!(files().await.unwrap().len(), 1, "its files stay");
    assert_eq!(
        store
            .remove_entity(id, &entry("entity.remove"))
            .await
            .unwrap(),
        None
    );
    // The name is free, and the home is there.
    let again = account_row("leaving", id, "leaving");
    let second = store
        .add_account(&again, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    store
        .remove_account(second, time(10), rule(), &entry("gone"))
        .await
        .unwrap()
        .unwrap();
    ledger::remove(store, home, "/file", time(2100)).await;
    store
        .remove_entity(id, &entry("entity.remove"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.entity(&name("leaving")).await.unwrap(), None);
    assert_eq!(store.home(&name("leaving")).await.unwrap(), None);
}
