//! The keys that this server signs with and signed with.

use starling_db::{Tx, Write};
use starling_events::SigningKey;
use starling_store::SCHEMA;
use starling_store::own_keys::{PublicKey, has_signed, own_key_read, own_key_record};
use starling_store::server::server_name_record;
use starling_testkit::{TestDb, on_each_engine};

use crate::timeline::new_room;

#[tokio::test]
async fn the_key_that_signs_is_the_one_that_was_noted_last() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let named = |tx: &mut Tx<'_>| server_name_record(tx, "localhost");
        db.db().write(Write::new("test"), named).await.unwrap();
        let noted = || db.db().read("test", own_key_read);
        assert_eq!(noted().await.unwrap(), None);
        // The same id may stand for another key: then it is another.
        for (seed, version) in [(1, "a"), (2, "b"), (3, "b")] {
            let key = SigningKey::generate([seed; 32], version).unwrap();
            let key = PublicKey {
                key_id: key.key_id().to_owned(),
                key: key.verifying_key(),
            };
            let new = key.clone();
            let note = move |tx: &mut Tx<'_>| own_key_record(tx, &new);
            db.db().write(Write::new("test"), note).await.unwrap();
            assert_eq!(noted().await.unwrap(), Some(key));
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_has_a_room_has_signed() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let signed = || db.db().read("test", has_signed);
        assert!(!signed().await.unwrap());
        new_room(&db).await;
        assert!(signed().await.unwrap());
    })
    .await;
}
