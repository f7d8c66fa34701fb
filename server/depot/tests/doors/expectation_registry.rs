//! Expectations through the registry: what they rest on, what changes, how many there may be.

use layover_depot::{
    Doing, Existing, ExpectationDefinition, ExpectationRules, MAX_EXPECTATIONS, RegistryError,
};

use crate::expectations::{TODAY, add_globex, advance_to, crm, expect, look, there, told, upload};
use crate::integrations::wanted;
use crate::world::{DAY, actor, name, sqlite_world, worlds};

#[tokio::test]
async fn what_is_expected_somewhere_is_not_taken_away_from_under_it() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let refused = registry
            .put_expectation(&actor(), &there(), Existing::Refuse)
            .await;
        assert!(matches!(
            refused,
            Err(RegistryError::ExpectationPartner { .. })
        ));
        add_globex(&world).await;
        let other = ExpectationDefinition {
            name: "other".parse().unwrap(),
            ..there()
        };
        expect(&world, &crm()).await;
        expect(&world, &other).await;
        let twice = registry
            .put_expectation(&actor(), &crm(), Existing::Refuse)
            .await;
        assert!(matches!(
            twice,
            Err(RegistryError::ExpectationExists { .. })
        ));
        let globex = "globex".parse().unwrap();
        let out = "out".parse().unwrap();
        let refusals = [
            registry
                .remove_account(&actor(), &name("alice"))
                .await
                .unwrap_err(),
            registry
                .remove_integration(&actor(), &globex)
                .await
                .unwrap_err(),
            registry
                .remove_location(&actor(), &globex, &out)
                .await
                .unwrap_err(),
        ];
        for (refused, used_by) in refusals.iter().zip(["crm", "other", "other"]) {
            assert!(
                matches!(refused, RegistryError::Expected { .. }),
                "{refused}"
            );
            let text = refused.to_string();
            assert!(
                text.contains(&format!("layover expect remove {used_by}")),
                "{text}"
            );
        }
        let mut without = wanted("globex", "sftp");
        without.locations = Some(Vec::new());
        let refused = registry
            .apply(&actor(), &[without], &[], &[], Doing::Really)
            .await;
        assert!(matches!(refused, Err(RegistryError::Expected { .. })));

        // It is its integration's entity's, whose that becomes.
        let sons = layover_depot::NewEntity {
            name: "sons".parse().unwrap(),
            keep: None,
        };
        registry.add_entity(&actor(), &sons).await.unwrap();
        let mut moved = wanted("globex", "sftp");
        moved.spec.entity = "sons".parse().unwrap();
        registry
            .apply(&actor(), &[moved], &[], &[], Doing::Really)
            .await
            .unwrap();
        let standing = registry.expectation(&other.name).await.unwrap();
        assert_eq!(standing.entity, "sons".parse().unwrap());

        for name in ["crm", "other"] {
            let name = name.parse().unwrap();
            registry.remove_expectation(&actor(), &name).await.unwrap();
            let gone = registry.remove_expectation(&actor(), &name).await;
            assert!(matches!(
                gone,
                Err(RegistryError::UnknownExpectation { .. })
            ));
        }
        registry
            .remove_location(&actor(), &globex, &out)
            .await
            .unwrap();
        registry
            .remove_integration(&actor(), &globex)
            .await
            .unwrap();
        registry
            .remove_account(&actor(), &name("alice"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_changes_is_told_field_by_field_and_what_is_disabled_is_let_be() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        let registry = world.depot.registry();
        let changed = ExpectationDefinition {
            by: "07:00".parse().unwrap(),
            rules: ExpectationRules {
                min_size_bytes: Some(1),
                ..ExpectationRules::default()
            },
            ..crm()
        };
        for (definition, fields) in [
            (&changed, &["by", "min_size_bytes"][..]),
            (&changed, &[]),
            (&crm(), &["by", "min_size_bytes"]),
        ] {
            let told = registry
                .put_expectation(&actor(), definition, Existing::Change)
                .await
                .unwrap();
            let told: Vec<_> = told.iter().map(|one| one.field.as_str()).collect();
            assert_eq!(told, fields);
        }
        world.depot.expectation_looks().plan().await.unwrap();
        advance_to(&world, "2026-11-21T06:00:00Z");
        look(&world.depot).await;
        assert_eq!(told(&world).await.len(), 1);
        let disabled = ExpectationDefinition {
            enabled: false,
            ..crm()
        };
        registry
            .put_expectation(&actor(), &disabled, Existing::Change)
            .await
            .unwrap();
        upload(&world, TODAY, b"content").await;
        world.clock.advance(3 * DAY);
        assert_eq!(look(&world.depot).await, 0);
        assert_eq!(told(&world).await.len(), 1);
    }
}

#[tokio::test]
async fn there_may_be_so_many_and_no_more() {
    let world = sqlite_world().await;
    let all: Vec<_> = (0..=MAX_EXPECTATIONS)
        .map(|number| ExpectationDefinition {
            name: format!("e{number}").parse().unwrap(),
            ..crm()
        })
        .collect();
    let registry = world.depot.registry();
    let (most, _) = all.split_at(MAX_EXPECTATIONS);
    let doing = Doing::DryRun;
    registry
        .apply(&actor(), &[], &[], most, doing)
        .await
        .unwrap();
    let refused = registry.apply(&actor(), &[], &[], &all, doing).await;
    assert!(matches!(refused, Err(RegistryError::TooManyExpectations)));
}
