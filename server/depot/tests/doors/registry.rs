//! What operators may do, what they are told when they may not, and that every
//! change is in the journal.

use layover_depot::{
    AccountChange, Enabled, JournalKind, NetworkAdded, NewAccount, NewEntity, NewNetwork,
    Protocols, RegistryError, Rights, Secret, SessionId, parse_authorized_keys,
};
use layover_retention::{KeepTooLong, PolicyLayers};

use crate::world::{DAY, PASSWORD, World, acme, actor, at, keep, name, network, worlds};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

pub(crate) fn account(text: &str, entity: &str) -> NewAccount {
    NewAccount {
        name: text.parse().unwrap(),
        entity: entity.parse().unwrap(),
        home: None,
        networks: Vec::new(),
        keys: Vec::new(),
        certificates: Vec::new(),
        password: None,
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
    }
}

async fn refused(world: &World, account: &NewAccount) -> RegistryError {
    world
        .depot
        .registry()
        .add_account(&actor(), account)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn an_account_that_cannot_be_is_refused_with_the_reason() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let other = NewEntity {
            name: "other".parse().unwrap(),
            keep: None,
        };
        registry.add_entity(&actor(), &other).await.unwrap();

        let unknown = refused(&world, &account("x", "unknown")).await;
        assert!(
            matches!(unknown, RegistryError::UnknownEntity { .. }),
            "{unknown:?}"
        );
        let taken = refused(&world, &account("alice", "acme")).await;
        assert!(
            matches!(taken, RegistryError::AccountExists { .. }),
            "{taken:?}"
        );
        let mut foreign = account("x", "other");
        foreign.home = Some("alice".parse().unwrap());
        let foreign = refused(&world, &foreign).await;
        assert!(
            matches!(&foreign, RegistryError::HomeOfAnother { owner, .. } if *owner == acme()),
            "{foreign:?}"
        );
        let mut long = account("x", "acme");
        long.keep = Some(keep(31));
        let long = refused(&world, &long).await;
        assert!(matches!(long, RegistryError::KeepTooLong(_)), "{long:?}");
        let mut mute = account("x", "acme");
        mute.protocols = Protocols::NONE;
        let mute = refused(&world, &mute).await;
        assert!(matches!(mute, RegistryError::NoProtocol { .. }), "{mute:?}");
        let mut empty = account("x", "acme");
        empty.password = Some(Secret::new(""));
        let empty = refused(&world, &empty).await;
        assert!(matches!(empty, RegistryError::Password(_)), "{empty:?}");
        assert_eq!(registry.list_accounts().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_longest_keep_is_allowed_and_one_second_more_is_not() {
    for world in worlds().await {
        let change = |keep| AccountChange {
            keep: Some(Some(keep)),
            ..AccountChange::default()
        };
        let registry = world.depot.registry();
        let most = keep(30);
        registry
            .change_account(&actor(), &name("alice"), &change(most))
            .await
            .unwrap();
        let more = layover_retention::Keep::from_secs(most.as_secs() + 1).unwrap();
        let refused = registry
            .change_account(&actor(), &name("alice"), &change(more))
            .await;
        let expected: KeepTooLong = PolicyLayers::check(more, most).unwrap_err();
        assert!(
            matches!(&refused, Err(RegistryError::KeepTooLong(fault)) if *fault == expected),
            "{refused:?}"
        );
        let unchanged = registry.account(&name("alice")).await.unwrap();
        assert_eq!(unchanged.keep, Some(most));
    }
}

#[tokio::test]
async fn what_is_not_there_cannot_be_changed_and_is_named() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let (actor, alice, nobody) = (actor(), name("alice"), name("nobody"));
        let key = parse_authorized_keys(KEY).unwrap().remove(0);
        let any = network("any");
        let faults = [
            registry
                .remove_entity(&actor, &"unknown".parse().unwrap())
                .await
                .unwrap_err(),
            registry
                .set_enabled(&actor, &nobody, Enabled::No)
                .await
                .unwrap_err(),
            registry.remove_account(&actor, &nobody).await.unwrap_err(),
            registry
                .set_password(&actor, &nobody, None)
                .await
                .unwrap_err(),
            registry.add_key(&actor, &nobody, &key).await.unwrap_err(),
            registry
                .add_network(&actor, &nobody, &any)
                .await
                .unwrap_err(),
            registry.list_files(&nobody, &at("/")).await.unwrap_err(),
            registry
                .remove_key(&actor, &alice, &key.fingerprint)
                .await
                .unwrap_err(),
            registry
                .remove_network(&actor, &alice, &any.network)
                .await
                .unwrap_err(),
            registry
                .remove_permission(&actor, &alice, &at("/in"))
                .await
                .unwrap_err(),
            registry
                .kill_session(&actor, &SessionId::random().unwrap())
                .await
                .unwrap_err(),
        ];
        for fault in &faults {
            let text = fault.to_string();
            assert!(
                text.starts_with("there is no ") || text.contains(" has no "),
                "{text}"
            );
        }
        registry.add_key(&actor, &alice, &key).await.unwrap();
        let twice = registry.add_key(&actor, &alice, &key).await;
        assert!(
            matches!(twice, Err(RegistryError::KeyExists { .. })),
            "{twice:?}"
        );
    }
}

#[tokio::test]
async fn a_network_that_is_allowed_gets_another_end_and_reason() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let alice = name("alice");
        let first = NewNetwork {
            reason: Some("ticket 1".to_owned()),
            until: Some("2026-12-01T00:00:00Z".parse().unwrap()),
            ..network("10.0.0.0/8")
        };
        let longer = NewNetwork {
            reason: Some("ticket 2".to_owned()),
            until: Some("2026-12-31T00:00:00Z".parse().unwrap()),
            ..network("10.0.0.0/8")
        };
        let mut answers = Vec::new();
        for network in [&first, &longer, &longer] {
            answers.push(
                registry
                    .add_network(&actor(), &alice, network)
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(
            answers,
            [NetworkAdded::New, NetworkAdded::Changed, NetworkAdded::Same]
        );
        let account = registry.account(&alice).await.unwrap();
        assert_eq!(account.networks.len(), 2, "the other one stays");
        let allowed = account.networks.last().unwrap();
        assert_eq!(
            (&allowed.reason, allowed.until),
            (&longer.reason, longer.until)
        );
        let entries = world.journal(JournalKind::Admin).await;
        let told: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action.starts_with("account.allow."))
            .collect();
        assert_eq!(told.len(), 2, "what changes nothing is not told: {told:?}");
        assert_eq!(told[1].action, "account.allow.set");
        assert_eq!(told[1].detail["until"], "2026-12-31T00:00:00Z");
        assert_eq!(told[1].detail["until_before"], "2026-12-01T00:00:00Z");
        assert_eq!(told[1].detail["reason_before"], "ticket 1");
    }
}

#[tokio::test]
async fn the_last_login_is_told_and_not_that_of_an_earlier_account_of_the_name() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let last = async || {
            let used = registry.account_use().await.unwrap();
            let alice = registry.account(&name("alice")).await.unwrap();
            used[&alice.id].last_login_at
        };
        assert_eq!(last().await, None);
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.end("done").await;
        let logged_in_at = layover_retention::Clock::now(&*world.clock);
        world.clock.advance(DAY);
        world.login("alice", "wrong").await.unwrap_err();
        assert_eq!(last().await, Some(logged_in_at), "a refused one is none");
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        registry
            .add_account(&actor(), &account("alice", "acme"))
            .await
            .unwrap();
        assert_eq!(last().await, None);
    }
}

#[tokio::test]
async fn the_entry_of_a_killed_session_names_session_and_account() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let registry = world.depot.registry();
        let listed = registry.list_sessions().await.unwrap();
        registry
            .kill_session(&actor(), &listed[0].id)
            .await
            .unwrap();
        let entries = world.journal(JournalKind::Admin).await;
        let told = entries.last().unwrap();
        assert_eq!(told.action, "session.kill");
        assert_eq!(told.session.as_ref(), Some(&listed[0].id));
        assert_eq!(told.account.as_deref(), Some("alice"));
        assert_eq!(told.entity.as_deref(), Some("acme"));
        session.end("done").await;
    }
}

#[tokio::test]
async fn an_entity_goes_only_without_accounts_and_files() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let in_use = |answer: Result<(), RegistryError>| {
            assert!(
                matches!(answer, Err(RegistryError::EntityInUse { .. })),
                "{answer:?}"
            );
        };
        world.upload("alice", "/a").await;
        in_use(registry.remove_entity(&actor(), &acme()).await);
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
        in_use(registry.remove_entity(&actor(), &acme()).await);
        world.clock.advance(crate::world::DAY * 5);
        let now = layover_retention::Clock::now(&*world.clock);
        let report = layover_retention::sweep(world.depot.shelf(), now, 10)
            .await
            .unwrap();
        assert_eq!(report.deleted, 1);
        registry.remove_entity(&actor(), &acme()).await.unwrap();
        assert_eq!(registry.list_entities().await.unwrap(), []);
    }
}

#[tokio::test]
async fn every_change_is_in_the_journal_with_its_actor_and_a_refused_one_is_not() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let (actor, alice) = (actor(), name("alice"));
        let key = parse_authorized_keys(KEY).unwrap().remove(0);
        let net = network("10.0.0.0/8");
        let longer = AccountChange {
            keep: Some(Some(keep(9))),
            ..AccountChange::default()
        };
        let secret = Secret::new("never in a journal");
        registry
            .change_account(&actor, &alice, &longer)
            .await
            .unwrap();
        registry
            .set_enabled(&actor, &alice, Enabled::No)
            .await
            .unwrap();
        registry
            .set_enabled(&actor, &alice, Enabled::Yes)
            .await
            .unwrap();
        registry
            .set_password(&actor, &alice, Some(secret))
            .await
            .unwrap();
        registry.add_key(&actor, &alice, &key).await.unwrap();
        registry.add_key(&actor, &alice, &key).await.unwrap_err();
        registry
            .remove_key(&actor, &alice, &key.fingerprint)
            .await
            .unwrap();
        registry.add_network(&actor, &alice, &net).await.unwrap();
        registry
            .remove_network(&actor, &alice, &net.network)
            .await
            .unwrap();
        registry
            .set_permission(&actor, &alice, &at("/in"), Rights::READ_ONLY)
            .await
            .unwrap();
        registry
            .remove_permission(&actor, &alice, &at("/in"))
            .await
            .unwrap();
        registry
            .set_entity_keep(&actor, &acme(), Some(keep(2)), None)
            .await
            .unwrap();
        registry.remove_account(&actor, &alice).await.unwrap();
        registry.remove_entity(&actor, &acme()).await.unwrap();
        let entries = world.journal(JournalKind::Admin).await;
        let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "entity.add",
                "account.add",
                "account.set",
                "account.disable",
                "account.enable",
                "account.password",
                "account.key.add",
                "account.key.remove",
                "account.allow.add",
                "account.allow.remove",
                "account.permission.set",
                "account.permission.remove",
                "entity.set",
                "account.remove",
                "entity.remove",
            ]
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.detail["actor"] == "operator")
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry.entity.as_deref() == Some("acme"))
        );
        assert!(!format!("{entries:?}").contains("never in a journal"));
    }
}
