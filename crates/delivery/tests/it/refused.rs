//! Servers that refuse what they are sent, or some of it.

use starling_store::SCHEMA;
use starling_testkit::{TestDb, on_each_engine};

use crate::support::{Manner, Received, Setting, seconds};
use crate::to_device::{numbers, send};

const ONE: &str = "one.example";
const USER: &str = "@a:one.example";

/// What servers have taken.
#[derive(Debug, Default, PartialEq)]
struct Taken {
    texts: Vec<String>,
    messages: Vec<i64>,
}

impl Taken {
    /// Looks at what comes until there are so many texts and messages of those that are taken.
    async fn wait(
        setting: &mut Setting,
        (texts, messages): (usize, usize),
        is_taken: Takes,
    ) -> Self {
        let mut taken = Self::default();
        while taken.texts.len() < texts || taken.messages.len() < messages {
            let next = setting.next().await;
            if is_taken(&next) {
                taken.texts.extend(next.texts());
                taken.messages.extend(numbers(&next, USER));
            }
        }
        taken
    }
}

/// Whether a server takes this.
type Takes = fn(&Received) -> bool;

fn is_good(received: &Received) -> bool {
    !received.body.to_string().contains("\"bad\"")
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

/// A message to a device waits when the sender starts.
async fn send_before_start(setting: &Setting) {
    setting.world.store.outgoing().open();
    send(setting, USER, 1).await;
}

#[tokio::test]
async fn an_event_that_its_server_refuses_keeps_nothing_else_from_it() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote(USER).await;
        setting.net.set(ONE, Manner::Picky);
        for text in ["one", "bad", "two"] {
            setting.say(text).await;
        }
        send_before_start(&setting).await;
        let running = setting.start();
        let taken = Taken::wait(&mut setting, (2, 1), is_good).await;
        let expected = Taken {
            texts: texts(&["one", "two"]),
            messages: vec![1],
        };
        assert_eq!(taken, expected);
        setting.say("three").await;
        assert_eq!(setting.next().await.texts(), ["three"]);
        // Alone it may be refused for another reason, and waits.
        setting.say("bad").await;
        assert_eq!(setting.next().await.texts(), ["bad"]);
        setting.say("four").await;
        seconds(3).await;
        let taken = Taken::wait(&mut setting, (1, 0), is_good).await;
        assert_eq!(taken.texts, ["four"]);
        setting.say("five").await;
        assert_eq!(setting.next().await.texts(), ["five"]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

#[tokio::test]
async fn what_is_too_much_at_once_goes_in_parts_and_in_order() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        let mut setting = Setting::new(&db).await;
        setting.join_remote(USER).await;
        setting.net.set(ONE, Manner::Small);
        let long: Vec<String> = (10..40)
            .map(|number| format!("{number}{}", "x".repeat(4_000)))
            .collect();
        for text in &long {
            setting.say(text).await;
        }
        send_before_start(&setting).await;
        let running = setting.start();
        let is_small = |received: &Received| received.bytes.len() <= 20_000;
        let taken = Taken::wait(&mut setting, (long.len(), 1), is_small).await;
        let expected = Taken {
            texts: long,
            messages: vec![1],
        };
        assert!(taken == expected, "all of it, in order");
        setting.say("next").await;
        assert_eq!(setting.next().await.texts(), ["next"]);
        running.stop().await;
        assert!(setting.has_no_more());
    })
    .await;
}

/// A server refuses two events and a message, or some of it, in so many transactions; then it takes what is left: the events, and
/// `messages`.
async fn refused_for_a_while(
    db: TestDb,
    (manner, transactions): (Manner, usize),
    messages: &[i64],
) {
    let mut setting = Setting::new(&db).await;
    setting.join_remote(USER).await;
    setting.net.set(ONE, manner);
    let said = ["first", "second"];
    for text in said {
        setting.say(text).await;
    }
    send_before_start(&setting).await;
    let running = setting.start();
    for _ in 0..transactions {
        setting.next().await;
    }
    seconds(1).await;
    assert!(setting.has_no_more(), "it is left alone");
    setting.net.set(ONE, Manner::Takes);
    seconds(2).await;
    let again = setting.next().await;
    assert_eq!(again.texts(), said);
    assert_eq!(numbers(&again, USER), messages);
    running.stop().await;
    assert!(setting.has_no_more());
}

#[tokio::test]
async fn who_refuses_everything_for_a_while_misses_nothing() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // As a whole, and nothing at all.
        refused_for_a_while(db, (Manner::Rejects, 2), &[1]).await;
    })
    .await;
}

#[tokio::test]
async fn who_takes_nothing_but_an_empty_transaction_misses_nothing() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // The events together and each alone, and the message.
        refused_for_a_while(db, (Manner::Hollow, 6), &[1]).await;
    })
    .await;
}

#[tokio::test]
async fn who_takes_no_events_for_a_while_misses_none() {
    on_each_engine(&SCHEMA, |db: TestDb| async move {
        // As a whole, nothing, the events together and each alone, and the message, which is taken.
        refused_for_a_while(db, (Manner::Eventless, 6), &[]).await;
    })
    .await;
}
