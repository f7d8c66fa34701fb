//! What integrations keep secret: sealed, referred to, and what hardened mode refuses.

use layover_depot::{
    Breach, Caution, Depot, Field, GivenSecret, RegistryError, SecretForm, SecretNote,
    SecretPurpose, SecretSlot,
};

use crate::integrations::{named, referred, typed, value, wanted};
use crate::world::{World, actor, keep, options, worlds};

/// A protocol, fields, a secret, and what hardened mode has against them.
type Refusal<'a> = (
    &'a str,
    &'a [(&'a str, &'a str)],
    Option<GivenSecret>,
    Breach,
);

impl World {
    /// The same data, opened as a hardened appliance.
    async fn hardened(self) -> Self {
        self.depot.close().await;
        let Self {
            folder,
            url,
            clock,
            depot,
        } = self;
        drop(depot);
        let mut options = options(folder.path(), &url, &clock, keep(5));
        options.hardened = true;
        Self {
            depot: Depot::open(options).await.unwrap(),
            folder,
            url,
            clock,
        }
    }
}

#[tokio::test]
async fn what_is_typed_in_is_sealed_and_comes_back_and_stands_nowhere_in_clear() {
    for world in worlds().await {
        let mut first = wanted("insurance", "ftps");
        first.secrets = vec![typed(SecretPurpose::Password, "correct horse battery")];
        let added = world.add_integration(&first).await;
        let kept = added
            .secret(SecretPurpose::Password, SecretSlot::Current)
            .unwrap();
        assert!(matches!(kept.form, SecretForm::Sealed { .. }));
        let registry = world.depot.registry();
        let name = named("insurance");
        let credential =
            || registry.credential(&name, SecretPurpose::Password, SecretSlot::Current);
        assert_eq!(value(credential().await.unwrap()), b"correct horse battery");
        // The same value again is no change.
        let same = typed(SecretPurpose::Password, "correct horse battery");
        assert!(
            world
                .set("insurance", &[], &[same])
                .await
                .unwrap()
                .is_empty()
        );
        let other = typed(SecretPurpose::Password, "another horse");
        assert_eq!(
            world.set("insurance", &[], &[other]).await.unwrap(),
            ["password"]
        );
        assert_eq!(value(credential().await.unwrap()), b"another horse");
        let said = format!(
            "{:?}{:?}",
            world.changes().await,
            registry.integration(&name).await
        );
        assert!(!said.contains("horse"), "{said}");

        let first = registry.rotate_secrets(&actor()).await.unwrap();
        assert_eq!((first.values, first.dropped.len()), (1, 0));
        assert_eq!(value(credential().await.unwrap()), b"another horse");
        let second = registry.rotate_secrets(&actor()).await.unwrap();
        assert_eq!((second.values, second.dropped.len()), (1, 1));
        assert_eq!(value(credential().await.unwrap()), b"another horse");
        let notes = registry.list_secrets().await.unwrap();
        let [SecretNote::OfIntegration { secret, .. }] = &notes[..] else {
            panic!("{notes:?}");
        };
        let sealed = SecretForm::Sealed {
            key_id: second.key_id,
        };
        assert_eq!(secret.form, sealed);
        let rotations = world.changes().await;
        let rotations = rotations
            .iter()
            .filter(|one| one.action == "secrets.rotate");
        assert_eq!(
            rotations
                .map(|one| &one.detail["values"])
                .collect::<Vec<_>>(),
            [1, 1]
        );

        // Without the master keys nothing is made up.
        let keys = world.folder.path().join("data/keys/master_keys");
        std::fs::remove_file(&keys).unwrap();
        let lost = credential().await;
        assert!(matches!(lost, Err(RegistryError::NoMasterKeys)), "{lost:?}");
        let sealing = world
            .set("insurance", &[], &[typed(SecretPurpose::ClientKey, "x")])
            .await;
        assert!(
            matches!(sealing, Err(RegistryError::NoMasterKeys)),
            "{sealing:?}"
        );
        assert!(!keys.exists());
    }
}

#[tokio::test]
async fn more_values_than_one_transaction_takes_are_all_sealed_anew() {
    for world in worlds().await {
        for number in 0..101 {
            let mut one = wanted(&format!("partner-{number}"), "sftp");
            one.secrets = vec![typed(
                SecretPurpose::Password,
                &format!("password {number}"),
            )];
            world.add_integration(&one).await;
        }
        let registry = world.depot.registry();
        assert_eq!(registry.rotate_secrets(&actor()).await.unwrap().values, 101);
        for number in [0, 50, 100] {
            let name = named(&format!("partner-{number}"));
            let opened = registry.credential(&name, SecretPurpose::Password, SecretSlot::Current);
            assert_eq!(
                value(opened.await.unwrap()),
                format!("password {number}").into_bytes()
            );
        }
        let rotations = world.changes().await;
        let rotations = rotations
            .iter()
            .filter(|one| one.action == "secrets.rotate");
        assert_eq!(
            rotations
                .map(|one| &one.detail["values"])
                .collect::<Vec<_>>(),
            [100, 1]
        );
    }
}

#[tokio::test]
async fn hardened_mode_refuses_what_is_new_and_names_what_was_there() {
    for world in worlds().await {
        let mut old = wanted("old", "ftp");
        old.secrets = vec![typed(SecretPurpose::Password, "typed in")];
        world.add_integration(&old).await;
        let world = world.hardened().await;
        let refusals: &[Refusal<'_>] = &[
            ("ftp", &[], None, Breach::PlainFtp),
            (
                "ftps",
                &[("ftps.skip_verify", "yes")],
                None,
                Breach::SkipVerify,
            ),
            (
                "ftps",
                &[],
                Some(typed(SecretPurpose::Password, "x")),
                Breach::TypedPassword,
            ),
            (
                "ftps",
                &[],
                Some(typed(SecretPurpose::ClientKey, "x")),
                Breach::TypedClientKey,
            ),
            (
                "ftps",
                &[],
                Some(typed(SecretPurpose::ClientKeyPassphrase, "x")),
                Breach::TypedPassphrase,
            ),
        ];
        let registry = world.depot.registry();
        for (protocol, fields, secret, expected) in refusals {
            let mut one = wanted("new", protocol);
            for (name, text) in *fields {
                Field::of_name(name)
                    .unwrap()
                    .set(&mut one.spec, Some(text))
                    .unwrap();
            }
            one.secrets.extend(secret.clone());
            match registry.add_integration(&actor(), &one).await {
                Err(RegistryError::Hardened { breaches, .. }) => assert_eq!(breaches, [*expected]),
                other => panic!("{expected:?}: {other:?}"),
            }
        }
        let mut safe = wanted("safe", "ftps");
        safe.secrets = vec![referred(SecretPurpose::Password, "vault:kv/ftp#password")];
        assert_eq!(world.add_integration(&safe).await.breaches(), []);
        let refused = world.set("safe", &[("ftps.skip_verify", "yes")], &[]).await;
        assert!(
            matches!(refused, Err(RegistryError::Hardened { .. })),
            "{refused:?}"
        );

        // What broke the rules before can be changed, and mended bit by bit.
        let old = registry.integration(&named("old")).await.unwrap();
        assert_eq!(old.breaches(), [Breach::PlainFtp, Breach::TypedPassword]);
        assert!(old.cautions().contains(&Caution::PlainFtp));
        world
            .set("old", &[("host", "192.0.2.7")], &[])
            .await
            .unwrap();
        let reference = referred(SecretPurpose::Password, "file:/run/pw");
        world
            .set("old", &[("protocol", "ftps")], &[reference])
            .await
            .unwrap();
        let old = registry.integration(&named("old")).await.unwrap();
        assert_eq!(old.breaches(), []);
    }
}
