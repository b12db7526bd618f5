//! Cross-signing keys: signatures are verified before the write, and count for what is there at the write.

use std::sync::Arc;

use serde_json::Value;
use starling_db::Simulation;
use starling_e2ee::{CrossSigningError, CrossSigningUpload, KeyUsage, Keys, KeysParts, Owner};
use starling_runtime::Chance;
use starling_store::SCHEMA;
use starling_testkit::{CrossSigner, TestDb, World};

const ALICE: &str = "@alice:localhost";

/// Alice, on a database whose writes take some time.
struct Setting {
    db: TestDb,
    keys: Keys,
    owner: Owner,
}

/// Of a thousand writes so many fail.
fn simulation(failing_bodies: u64) -> Simulation {
    Simulation {
        failing_bodies,
        ..Simulation::calm(Chance::seeded(1))
    }
}

fn keys(world: &World) -> Keys {
    Keys::new(KeysParts {
        store: world.store.clone(),
        bus: world.bus.clone(),
        server_name: "localhost".try_into().unwrap(),
        clock: world.clock.clone(),
        remote: None,
    })
}

impl Setting {
    async fn new() -> Self {
        let db = TestDb::simulated(&SCHEMA, simulation(0)).await;
        let world = World::start(&db).await;
        let alice = world.user("alice").await;
        let keys = keys(&world);
        let owner = Owner {
            user: alice.user,
            user_id: alice.user_id,
            device: alice.device,
            device_id: Arc::from("PHONE"),
        };
        Self { db, keys, owner }
    }

    async fn upload(
        &self,
        keys: impl IntoIterator<Item = (KeyUsage, Value)>,
    ) -> Result<(), CrossSigningError> {
        let keys = keys.into_iter().map(|(usage, key)| (usage, Some(key)));
        let upload = CrossSigningUpload::read(&self.owner, keys)?;
        self.keys
            .upload_cross_signing(&self.owner, upload, true)
            .await
    }
}

fn master(signer: &CrossSigner) -> (KeyUsage, Value) {
    (KeyUsage::Master, signer.key_object("master"))
}

fn self_signing(signer: &CrossSigner) -> (KeyUsage, Value) {
    (KeyUsage::SelfSigning, signer.key_object("self_signing"))
}

#[tokio::test(start_paused = true)]
async fn what_the_master_key_has_not_signed_is_refused_without_a_write() {
    let mut setting = Setting::new().await;
    let (one, other) = (CrossSigner::new(ALICE, 1), CrossSigner::new(ALICE, 9));
    setting
        .upload([master(&one), self_signing(&one)])
        .await
        .unwrap();
    setting.db.simulate(simulation(1_000));
    setting.db.power_cut().await;
    setting.keys = keys(&World::start(&setting.db).await);
    let refused = setting.upload([self_signing(&other)]).await;
    assert!(
        matches!(refused, Err(CrossSigningError::Signature("self_signing"))),
        "{refused:?}"
    );
    let written = setting.upload([master(&other)]).await;
    assert!(
        matches!(written, Err(CrossSigningError::Database(_))),
        "{written:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_taken_whose_master_key_is_replaced_at_the_same_moment() {
    let setting = Setting::new().await;
    let (one, other) = (CrossSigner::new(ALICE, 1), CrossSigner::new(ALICE, 9));
    setting.upload([master(&one)]).await.unwrap();
    let (replaced, late) = tokio::join!(
        setting.upload([master(&other)]),
        setting.upload([self_signing(&one)]),
    );
    replaced.unwrap();
    assert!(
        matches!(late, Err(CrossSigningError::Signature("self_signing"))),
        "{late:?}"
    );
}
