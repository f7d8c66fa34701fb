//! What the store says when the database is not as it must be.

use sqlx::{Connection, Executor};

use super::{TestStore, entity, entry, stores, time};
use crate::store::{Connect, Missing, OpenStoreError, Store, StoreError};
use crate::{Fsync, NewEntity};

fn connect(test: &TestStore) -> Connect {
    Connect {
        url: test.url.clone(),
        fsync: Fsync::Always,
        missing: Missing::Make,
    }
}

async fn run(url: &str, statement: &'static str) {
    if url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        connection.execute(statement).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_second_opening_finds_what_the_first_one_left() {
    for test in stores().await {
        let id = entity(&test.store, "acme").await;
        test.store.close().await;
        let again = Store::open(&connect(&test)).await.unwrap();
        assert_eq!(
            again
                .entity(&"acme".parse().unwrap())
                .await
                .unwrap()
                .unwrap()
                .id,
            id
        );
    }
}

#[tokio::test]
async fn a_database_of_a_newer_layover_is_refused_and_left_alone() {
    for test in stores().await {
        test.store.close().await;
        run(
            &test.url,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'future', TRUE, '', 0)",
        )
        .await;
        let refused = Store::open(&connect(&test)).await;
        assert!(
            matches!(refused, Err(OpenStoreError::Newer { step: 9999 })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_visitor_finds_an_empty_database_and_sets_nothing_up() {
    for test in stores().await {
        test.store.close().await;
        let visit = Connect {
            missing: Missing::Refuse,
            ..connect(&test)
        };
        Store::open(&visit).await.unwrap().close().await;
        run(&test.url, "DROP TABLE _sqlx_migrations").await;
        for _ in 0..2 {
            let refused = Store::open(&visit).await;
            assert!(
                matches!(refused, Err(OpenStoreError::Absent { .. })),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_visitor_leaves_an_older_schema_as_it_is_and_says_who_changes_it() {
    for test in stores().await {
        test.store.close().await;
        run(&test.url, "DELETE FROM _sqlx_migrations WHERE version > 1").await;
        let visit = Connect {
            missing: Missing::Refuse,
            ..connect(&test)
        };
        for _ in 0..2 {
            let refused = Store::open(&visit).await.unwrap_err();
            assert!(
                matches!(refused, OpenStoreError::Older { found: 1, .. }),
                "{refused:?}"
            );
            let text = refused.to_string();
            assert!(
                text.contains("newer") && text.contains("`layover serve`"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_visitor_refuses_a_newer_schema_too() {
    for test in stores().await {
        test.store.close().await;
        run(
            &test.url,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'future', TRUE, '', 0)",
        )
        .await;
        let visit = Connect {
            missing: Missing::Refuse,
            ..connect(&test)
        };
        let refused = Store::open(&visit).await;
        assert!(
            matches!(refused, Err(OpenStoreError::Newer { step: 9999 })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_url_of_no_known_engine_is_refused_without_showing_it() {
    let how = Connect {
        url: "mysql://root:secret@h/x".to_owned(),
        fsync: Fsync::Never,
        missing: Missing::Make,
    };
    let refused = Store::open(&how).await.unwrap_err();
    assert!(matches!(refused, OpenStoreError::Scheme));
    assert!(!format!("{refused} {refused:?}").contains("secret"));
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_says_so() {
    // A port of loopback that was just given back: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for url in [
        format!("postgres://layover@127.0.0.1:{port}/layover"),
        "sqlite:/proc/no/such/place/layover.db".to_owned(),
    ] {
        let refused = Store::open(&Connect {
            url,
            fsync: Fsync::Never,
            missing: Missing::Make,
        })
        .await
        .unwrap_err();
        assert!(
            matches!(
                refused,
                OpenStoreError::Connect {
                    source: StoreError::Unreachable { .. }
                }
            ),
            "{refused:?}"
        );
    }
}

/// Another process holds the write lock: reading goes on, writing says `Busy`.
#[tokio::test]
async fn a_locked_sqlite_database_is_busy_and_readable() {
    let test = stores().await.remove(0);
    entity(&test.store, "acme").await;
    let mut other = sqlx::SqliteConnection::connect(&test.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(test.store.list_entities().await.unwrap().len(), 1);
    let new = NewEntity {
        name: "late".parse().unwrap(),
        keep: None,
    };
    let refused = test
        .store
        .add_entity(&new, time(0), &entry("entity.add"))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Busy { .. })),
        "{refused:?}"
    );
    other.execute("ROLLBACK").await.unwrap();
    assert!(
        test.store
            .add_entity(&new, time(0), &entry("entity.add"))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_row_that_we_never_write_is_named() {
    for test in stores().await {
        let id = entity(&test.store, "acme").await;
        run(&test.url, "UPDATE entities SET name = 'Not A Name'").await;
        let refused = test.store.list_entities().await;
        let Err(StoreError::Corrupt {
            table,
            id: row,
            what,
        }) = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((table, row, what), ("entities", id.0, "name"));
    }
}

/// A change, its audit event and the counter commit together or not at all.
#[tokio::test]
async fn a_change_whose_journal_entry_cannot_be_written_did_not_happen() {
    for test in stores().await {
        let before = test.store.generation().await.unwrap();
        run(&test.url, "ALTER TABLE journal RENAME TO journal_elsewhere").await;
        let new = NewEntity {
            name: "acme".parse().unwrap(),
            keep: None,
        };
        let refused = test
            .store
            .add_entity(&new, time(0), &entry("entity.add"))
            .await;
        assert!(
            matches!(refused, Err(StoreError::Statement { .. })),
            "{refused:?}"
        );
        assert_eq!(test.store.list_entities().await.unwrap(), []);
        assert_eq!(test.store.generation().await.unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fresh_sqlite_database_can_be_opened_by_several_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let connect = Connect {
            url: format!("sqlite:{}", folder.path().join("layover.db").display()),
            fsync: Fsync::Never,
            missing: Missing::Make,
        };
        let opening: Vec<_> = (0..4)
            .map(|_| {
                let connect = connect.clone();
                tokio::spawn(async move { Store::open(&connect).await })
            })
            .collect();
        for opened in opening {
            let store = opened.await.unwrap().unwrap();
            assert_eq!(store.generation().await.unwrap(), 0);
            store.close().await;
        }
    }
}
