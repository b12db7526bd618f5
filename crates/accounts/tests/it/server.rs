//! The row that says whose database it is.

use starling_db::{Error, Tx, Write};
use starling_store::server::{server_name_record, signing_key_read, signing_key_record};

use crate::world::{World, on_each_engine};

async fn record(world: &World, name: &'static str) -> Result<bool, Error> {
    let record = move |tx: &mut Tx<'_>| server_name_record(tx, name);
    world.store.db().write(Write::new("test"), record).await
}

#[tokio::test]
async fn a_database_belongs_to_one_server() {
    on_each_engine(|mut world| async move {
        let is_new = async || record(&world, "example.org").await.unwrap();
        assert!(is_new().await);
        assert!(!is_new().await);
        let refused = record(&world, "elsewhere.org").await;
        assert!(matches!(refused, Err(Error::Refused(_))));
        world.db.reopen().await;
        let world = World::new(world.db).await;
        let refused = record(&world, "elsewhere.org").await;
        assert!(matches!(refused, Err(Error::Refused(_))));
        record(&world, "example.org").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_first_signing_key_stays() {
    on_each_engine(|world| async move {
        record(&world, "example.org").await.unwrap();
        assert_eq!(world.read(signing_key_read).await, None);
        let keep = async |key: &'static str| {
            let keep = move |tx: &mut Tx<'_>| signing_key_record(tx, key);
            let db = world.store.db();
            db.write(Write::new("test"), keep).await.unwrap()
        };
        assert_eq!(keep("ed25519 a one").await, "ed25519 a one");
        assert_eq!(keep("ed25519 b two").await, "ed25519 a one");
        let kept = world.read(signing_key_read).await;
        assert_eq!(kept.as_deref(), Some("ed25519 a one"));
    })
    .await;
}
