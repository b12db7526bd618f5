//! Every statement is understood by both engines, and the names that the code knows are those of the schema.

use std::collections::HashSet;

use starling_db::Error;
use starling_store::names::{EMPTY_KEY, types};
use starling_store::{CacheSizes, SCHEMA, Store, statements};
use starling_testkit::{TestDb, on_each_engine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_prepare_every_statement() {
    assert!(statements().len() > 50, "the list is not empty by mistake");
    let names: HashSet<&str> = statements()
        .iter()
        .map(|statement| statement.name())
        .collect();
    assert_eq!(
        names.len(),
        statements().len(),
        "a statement's name is its own: it is kept prepared under it"
    );
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let prepare_all = |tx: &mut starling_db::Tx<'_>| {
            statements()
                .into_iter()
                .try_for_each(|statement| tx.prepare(statement))
        };
        db.db().read("prepare", prepare_all).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_numbers_are_those_of_the_schema() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let store = Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20));
        let names = store.names().clone();
        let look = move |tx: &mut starling_db::Tx<'_>| {
            for (name, number) in [
                ("m.room.create", types::CREATE),
                ("m.room.member", types::MEMBER),
                ("m.room.power_levels", types::POWER_LEVELS),
                ("m.room.join_rules", types::JOIN_RULES),
                ("m.room.history_visibility", types::HISTORY_VISIBILITY),
                ("m.room.redaction", types::REDACTION),
                ("m.room.name", types::NAME),
                ("m.room.topic", types::TOPIC),
                ("m.room.avatar", types::AVATAR),
                ("m.room.canonical_alias", types::CANONICAL_ALIAS),
                ("m.room.encryption", types::ENCRYPTION),
            ] {
                assert_eq!(names.kind(tx, name)?, Some(number), "{name}");
                assert_eq!(&*names.kind_name(tx, number)?, name);
            }
            assert_eq!(&*names.key_name(tx, EMPTY_KEY)?, "");
            Ok::<_, Error>(())
        };
        db.db().read("names", look).await.unwrap();
    })
    .await;
}
