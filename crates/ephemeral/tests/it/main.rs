//! Tests of what happens by itself as time passes, and of what other servers say; what clients see of it is tested through
//! the API.
#![cfg(test)]

mod remote;

use std::time::Duration;

use starling_ephemeral::{Client, Ephemeral, Parts, PresenceState};
use starling_store::SCHEMA;
use starling_testkit::{TestDb, World, on_each_engine};

fn ephemeral(world: &World) -> Ephemeral {
    Ephemeral::new(Parts {
        store: world.store.clone(),
        bus: world.bus.clone(),
        clock: world.clock.clone(),
        has_presence: true,
    })
}

/// A local user's device.
async fn client(world: &World, name: &str) -> Client {
    let actor = world.user(name).await;
    Client {
        user: actor.user,
        user_id: actor.user_id,
        device: actor.device,
    }
}

/// Lets time pass, and what is due happen.
async fn seconds(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
}

#[tokio::test]
async fn an_open_poll_keeps_its_user_there_and_idle_after_a_while() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let bob = client(&world, "bob").await;
        let head = db.db().head().await.unwrap();
        let poll = ephemeral.begin_poll(&bob, None).await.unwrap();
        let told = |user_id| world.bus.presence(user_id).unwrap();
        let state = || {
            let presence = told(bob.user.0);
            (presence.state, presence.currently_active)
        };
        assert_eq!(state(), (PresenceState::Online, true));
        seconds(58).await;
        assert_eq!(state(), (PresenceState::Online, true));
        seconds(4).await;
        assert_eq!(state(), (PresenceState::Online, false));
        seconds(200).await;
        assert_eq!(state(), (PresenceState::Online, false));
        seconds(40).await;
        assert_eq!(state(), (PresenceState::Unavailable, false));
        // Any activity brings them back.
        ephemeral.note_activity(bob.user);
        assert_eq!(state(), (PresenceState::Online, true));
        drop(poll);
        seconds(25).await;
        assert_eq!(state(), (PresenceState::Online, true));
        seconds(10).await;
        assert_eq!(state(), (PresenceState::Offline, false));
        // Nothing of this is stored.
        assert_eq!(db.db().head().await.unwrap(), head);
        // Who is not there does not come by doing something, but it is known when they did.
        let before = told(bob.user.0).last_active_ms;
        ephemeral.note_activity(bob.user);
        assert_eq!(state(), (PresenceState::Offline, false));
        assert!(told(bob.user.0).last_active_ms > before);
    })
    .await;
}

#[tokio::test]
async fn the_task_that_waits_ends_and_begins_again() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let world = World::start(&db).await;
        let ephemeral = ephemeral(&world);
        let room = world.room(&world.user("alice").await).await;
        let number = world.store.room_num(&room).await.unwrap().unwrap();
        let alice = client(&world, "alice").await;
        for _ in 0..2 {
            let long = Some(Duration::from_mins(1));
            ephemeral.set_typing(&alice, &room, long).await.unwrap();
            // Something due earlier than what is waited for.
            let short = Some(Duration::from_secs(5));
            ephemeral.set_typing(&alice, &room, short).await.unwrap();
            seconds(4).await;
            assert_eq!(world.bus.typing(number.0).len(), 1);
            seconds(3).await;
            assert!(world.bus.typing(number.0).is_empty());
        }
    })
    .await;
}
