//! One message to a room of 100 members.

use super::client::Server;

/// In the room, its sender included.
const MEMBERS: u64 = 100;
/// Messages before the first that counts: statements are prepared, caches are warm.
const WARM_UP: u64 = 20;

pub(super) async fn run(count: u64) {
    let server = Server::start().await;
    let sender = server.client("sender").await;
    let room = sender.create_room().await;
    for number in 1..MEMBERS {
        let member = server.client(&format!("member{number}")).await;
        member.join(&room).await;
    }
    for number in 0..WARM_UP + count {
        sender.say(&room, number).await;
    }
}
