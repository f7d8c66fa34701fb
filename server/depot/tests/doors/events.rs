//! Events of what partners did, and hooks with their secrets.

use layover_depot::{
    Credential, Event, EventFilter, EventId, EventKind, HookAddresses, HookChange, HookPlain,
    HookTarget, JournalKind, RegistryError, Secret, SecretForm, SecretNote, WantedHook,
};

use crate::evidence::seal;
use crate::foresight::put;
use crate::world::{PASSWORD, World, actor, at, worlds};

const SECRET: &str = "a secret of some length";

fn wanted(name: &str, url: &str, secret: &str) -> WantedHook {
    WantedHook {
        name: name.parse().unwrap(),
        target: HookTarget {
            url: url.parse().unwrap(),
            authorities: None,
            plain: HookPlain::ThisMachine,
            addresses: HookAddresses::Usual,
        },
        entity: None,
        kinds: Vec::new(),
        secret: Credential::Value(Secret::new(secret)),
    }
}

async fn told(world: &World) -> Vec<Event> {
    let filter = EventFilter {
        limit: 100,
        ..EventFilter::default()
    };
    world.depot.events().query(&filter).await.unwrap()
}

#[tokio::test]
async fn what_a_partner_does_is_told_once_although_two_nodes_follow() {
    for world in worlds().await {
        let (here, there) = (world.depot.events(), world.depot.events());
        here.begin().await.unwrap();
        let session = world.login("alice", PASSWORD).await.unwrap();
        for path in ["/a", "/b", "/c"] {
            put(&session, &at(path), b"content").await.unwrap();
        }
        seal(&world.depot).await;
        loop {
            let (one, other) = tokio::join!(here.follow(), there.follow());
            if one.unwrap() + other.unwrap() == 0 {
                break;
            }
        }
        let events = told(&world).await;
        let subjects: Vec<_> = events.iter().map(|event| event.subject.as_str()).collect();
        assert_eq!(
            subjects,
            ["file:alice:/a", "file:alice:/b", "file:alice:/c"]
        );
        let acme = Some("acme".parse().unwrap());
        assert!(events.iter().all(|event| event.entity == acme));
        assert_eq!(here.follow().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_hooks_secret_is_sealed_and_outlives_a_new_master_key() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let hook = wanted("crm", "https://h.example/", SECRET);
        let hook = registry.add_hook(&actor(), &hook).await.unwrap();
        let report = registry.rotate_secrets(&actor()).await.unwrap();
        assert_eq!(report.values, 1);
        let second = registry.rotate_secrets(&actor()).await.unwrap();
        assert_eq!((second.values, second.dropped.len()), (1, 1));
        let sealed = SecretNote::OfHook {
            hook: hook.name.clone(),
            form: SecretForm::Sealed {
                key_id: second.key_id,
            },
        };
        assert_eq!(registry.list_secrets().await.unwrap(), [sealed]);
        let Credential::Value(value) = registry.hook_secret(&hook).await.unwrap() else {
            panic!("a value");
        };
        assert_eq!(value.expose(), SECRET.as_bytes());
        assert!(hook.secret_told().starts_with("sealed with"));
        let removed = registry.remove_hook(&actor(), &hook.name).await.unwrap();
        assert_eq!(removed.id, hook.id);
        let gone = registry.hook_secret(&hook).await;
        assert!(matches!(gone, Err(RegistryError::UnknownHook { .. })));
    }
}

#[tokio::test]
async fn a_hook_becomes_what_it_is_set_to_and_keeps_the_rest() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let hook = wanted("crm", "https://h.example/old?k=T0KEN", SECRET);
        let hook = registry.add_hook(&actor(), &hook).await.unwrap();
        let name = &hook.name;
        let url = |url: &str| HookChange {
            url: Some(url.parse().unwrap()),
            ..HookChange::default()
        };
        let fields = async |change: &HookChange| {
            let changed = registry.change_hook(&actor(), name, change).await.unwrap();
            let fields = changed.into_iter().map(|one| one.field);
            fields.collect::<Vec<_>>()
        };
        assert_eq!(
            fields(&url("https://h.example/new?k=T0KEN2")).await,
            ["url"]
        );
        assert!(
            fields(&url("https://h.example/new?k=T0KEN2"))
                .await
                .is_empty()
        );
        let change = HookChange {
            authorities: Some(Some("PEM".to_owned())),
            addresses: Some(HookAddresses::Any),
            plain: Some(HookPlain::Anywhere),
            kinds: Some(vec![EventKind::FileArrived]),
            secret: Some(Credential::Value(Secret::new("another secret of ours"))),
            ..HookChange::default()
        };
        assert_eq!(
            fields(&change).await,
            [
                "kinds",
                "secret",
                "authorities",
                "allow_plain",
                "allow_any_address"
            ]
        );
        assert!(fields(&change).await.is_empty());
        let now = registry.hook(name).await.unwrap();
        assert_eq!(now.target.url.path(), "/new?k=T0KEN2");
        assert_eq!((now.id, now.created_at), (hook.id, hook.created_at));
        let Credential::Value(value) = registry.hook_secret(&now).await.unwrap() else {
            panic!("a value");
        };
        assert_eq!(value.expose(), b"another secret of ours");

        // Without TLS only where that is said, and nothing of a refused change is done.
        let plain = HookChange {
            plain: Some(HookPlain::ThisMachine),
            kinds: Some(Vec::new()),
            ..url("http://10.0.0.1/")
        };
        let refused = registry.change_hook(&actor(), name, &plain).await;
        assert!(matches!(refused, Err(RegistryError::HookWithoutTls { .. })));
        assert_eq!(registry.hook(name).await.unwrap(), now);
        let nobody = "nobody".parse().unwrap();
        let refused = registry.change_hook(&actor(), &nobody, &plain).await;
        assert!(matches!(refused, Err(RegistryError::UnknownHook { .. })));

        // The journal says what changed, and nothing that is secret.
        let mut entries = world.journal(JournalKind::Admin).await;
        entries.retain(|entry| entry.action == "hook.set");
        assert_eq!(entries.len(), 2);
        let told = format!("{entries:?}");
        assert!(told.contains("another path"), "{told}");
        assert!(
            !told.contains("T0KEN") && !told.contains("of ours"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_hook_that_cannot_be_is_refused_with_what_is_wrong() {
    let world = crate::world::sqlite_world().await;
    let registry = world.depot.registry();
    for (name, url, secret, says) in [
        ("short", "https://h.example/", "x".repeat(15), "16"),
        (
            "plain",
            "http://h.example/",
            SECRET.to_owned(),
            "--allow-plain",
        ),
    ] {
        let refused = registry
            .add_hook(&actor(), &wanted(name, url, &secret))
            .await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    for url in ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"] {
        let hook = wanted("here", url, &"x".repeat(16));
        let hook = registry.add_hook(&actor(), &hook).await.unwrap();
        let twice = registry
            .add_hook(&actor(), &wanted("here", url, SECRET))
            .await;
        assert!(matches!(twice, Err(RegistryError::HookExists { .. })));
        registry.remove_hook(&actor(), &hook.name).await.unwrap();
    }
    let name = "here".parse().unwrap();
    let again = registry.send_again(&actor(), &name, Some(EventId(1))).await;
    assert!(matches!(again, Err(RegistryError::UnknownHook { .. })));
}
