//! Coming back into rooms that the last user of this server has left.

use serde_json::json;
use starling_events::{Pdu, RoomVersion};
use starling_rooms::{Actor, Membership, MembershipAction, SendError};
use starling_store::SCHEMA;
use starling_store::memberships::membership_read;
use starling_testkit::{TestDb, on_each_engine};

use super::graph::{Graph, OWNER, RESIDENT};
use super::join::{joins, resident};
use super::missing::joined_to;
use super::net::{Connected, server};

/// Bob joins through the resident server, which has this of the room.
async fn bob_joins(at: &Connected, graph: &Graph) -> Result<Actor, SendError> {
    let bob = at.world.user("bob").await;
    let template = graph.template(bob.user_id.as_str(), &joins());
    at.net.add(RESIDENT, resident(template, graph.answer()));
    let through = [server(RESIDENT)];
    let joining = at.world.rooms.join(&bob, (&graph.room_id, &through), None);
    joining.await.map(|()| bob)
}

async fn leave(at: &Connected, user: &Actor, graph: &Graph) {
    let (world, leave) = (&at.world, MembershipAction::Leave);
    world.act(user, &graph.room_id, leave, user).await.unwrap();
}

/// The newest event of the room here, when nobody of this server is in it.
async fn newest(at: &Connected, graph: &Graph) -> Pdu {
    let store = at.world.store.clone();
    let room = store.room_num(&graph.room_id).await.unwrap().unwrap();
    let snapshot = store.room(room).await.unwrap().unwrap();
    let [newest] = &*snapshot.extremities else {
        panic!("{:?}", snapshot.extremities)
    };
    let num = newest.num;
    let read = move |tx: &mut starling_db::Tx<'_>| store.event_read(tx, num);
    let read = at.world.store.db().read("test", read).await.unwrap();
    read.unwrap().pdu.clone()
}

/// What somebody of this server is, and how many are in the room.
async fn standing(at: &Connected, graph: &Graph, user: &Actor) -> (Option<Membership>, i64) {
    let store = &at.world.store;
    let room = store.room_num(&graph.room_id).await.unwrap().unwrap();
    let user = user.user;
    let read = move |tx: &mut starling_db::Tx<'_>| membership_read(tx, user, room);
    let row = store.db().read("test", read).await.unwrap();
    let snapshot = store.room(room).await.unwrap().unwrap();
    (row.map(|row| row.membership), snapshot.joined)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_stays_out_whether_or_not_the_server_that_lets_others_in_has_heard_of_it() {
    for has_heard in [false, true] {
        on_each_engine(&SCHEMA, async |db: TestDb| {
            let at = Connected::start(&db).await;
            let (alice, mut graph) = joined_to(&at, Graph::new(RoomVersion::V11)).await;
            leave(&at, &alice, &graph).await;
            let left = newest(&at, &graph).await;
            if has_heard {
                graph.take(left.clone());
            }
            graph.add(
                OWNER,
                ("m.room.topic", Some("")),
                &json!({ "topic": "new" }),
            );
            let bob = bob_joins(&at, &graph).await.unwrap();
            let standing = async |user| standing(&at, &graph, user).await;
            let of_alice = standing(&alice).await;
            assert_eq!(of_alice, (Some(Membership::Leave), 2), "{has_heard}");
            assert_eq!(
                standing(&bob).await.0,
                Some(Membership::Join),
                "{has_heard}"
            );
            let rooms = &at.world.rooms;
            let topic = rooms.state_event(&bob, &graph.room_id, "m.room.topic", "");
            assert!(topic.await.is_ok(), "{has_heard}");
            // Where they haven't heard of it, the next event tells them.
            let said = at.world.say(&bob, &graph.room_id, "so").await.unwrap();
            let next = newest(&at, &graph).await;
            assert_eq!(next.event_id(), said);
            let tells = next.prev_events().contains(&left.event_id().to_owned());
            assert_eq!(tells, !has_heard);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_banned_from_here_is_not_let_in_by_a_server_that_has_not_heard_of_it() {
    on_each_engine(&SCHEMA, async |db: TestDb| {
        let at = Connected::start(&db).await;
        let (alice, mut graph) = joined_to(&at, Graph::new(RoomVersion::V11)).await;
        let levels = json!({ "users": { OWNER: 100, alice.user_id.as_str(): 50 } });
        let levels = graph.add(OWNER, ("m.room.power_levels", Some("")), &levels);
        let origin = server(RESIDENT);
        let received = at.world.rooms.receive(&origin, levels);
        received.await.unwrap();
        let (bob, ban) = (at.world.user("bob").await, MembershipAction::Ban);
        let banned = at.world.act(&alice, &graph.room_id, ban, &bob);
        banned.await.unwrap();
        leave(&at, &alice, &graph).await;
        let joined = bob_joins(&at, &graph).await;
        assert!(matches!(joined, Err(SendError::Forbidden(_))), "{joined:?}");
        let (of_bob, joined) = standing(&at, &graph, &bob).await;
        assert_eq!((of_bob, joined), (Some(Membership::Ban), 1));
    })
    .await;
}
