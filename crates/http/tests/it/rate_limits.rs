//! How often callers may ask: <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::stream;
use http::{Request, StatusCode};
use starling_config::{Listener, RateLimits};
use starling_http::{
    Auth, Caller, Edge, JsonBytes, Limited, MatrixError, Peer, RateLimiter, RawBody, Routes,
};
use starling_runtime::Clock;
use tokio::time::advance;

use crate::fixture::{Answer, App, edge, send};

async fn ok() -> JsonBytes {
    JsonBytes::empty()
}

fn routes() -> Routes<App> {
    Routes::new()
        .get("/other", Auth::User, ok)
        .get("/optional", Auth::Optional, ok)
        .get("/send", Auth::User, ok)
        .limit(Limited::Message)
        .get("/profile", Auth::User, ok)
        .limit(Limited::Profile)
        .post("/login", Auth::None, async |RawBody(_): RawBody| {
            JsonBytes::empty()
        })
        .limit(Limited::Login)
        .get("/refresh", Auth::None, ok)
        .limit(Limited::Refresh)
}

/// A service with these limits, behind a proxy at 10.0.0.1.
fn limited(limits: RateLimits) -> (Router, App) {
    let listener = Listener {
        trusted_proxies: vec!["10.0.0.1".parse().unwrap()],
        ..Listener::default()
    };
    let state = App::limited(&limits);
    let edge = Edge {
        limiter: state.limiter.clone(),
        ..edge(None)
    };
    let app = edge.app(&listener, routes().into_router(state.clone()));
    (app, state)
}

/// Asks for a path from an address, perhaps with a token.
async fn ask(app: &Router, address: &str, token: Option<&str>, path: &str) -> Answer {
    let method = if path == "/login" { "POST" } else { "GET" };
    let address: IpAddr = address.parse().unwrap();
    let mut request = Request::builder().method(method).uri(path);
    request = request.extension(Peer((address, 5).into()));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn ask_as(app: &Router, token: &str, path: &str) -> u16 {
    let answer = ask(app, "192.0.2.1", Some(token), path).await;
    answer.status.as_u16()
}

/// The headers and fields that say when to come again.
fn wait(answer: &Answer) -> (String, u64) {
    assert_eq!(answer.error(), (429, "M_LIMIT_EXCEEDED".to_owned()));
    let header = answer.headers["retry-after"].to_str().unwrap().to_owned();
    (header, answer.json()["retry_after_ms"].as_u64().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_user_has_a_bucket_for_each_kind_of_action() {
    let (app, _) = limited(RateLimits {
        messages_per_second: 1,
        messages_burst: 3,
        ..RateLimits::default()
    });
    for _ in 0..3 {
        assert_eq!(ask_as(&app, "alice", "/send").await, 200);
    }
    // However often it is refused, the wait does not grow.
    for _ in 0..5 {
        let refused = ask(&app, "192.0.2.1", Some("alice"), "/send").await;
        assert_eq!(wait(&refused), ("1".to_owned(), 1000));
    }
    // From another address it is still the same user; another user and other actions are free.
    let refused = ask(&app, "192.0.2.2", Some("alice"), "/send").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask_as(&app, "bob", "/send").await, 200);
    assert_eq!(ask_as(&app, "alice", "/profile").await, 200);
    assert_eq!(ask_as(&app, "alice", "/other").await, 200);
    advance(Duration::from_millis(999)).await;
    let refused = ask(&app, "192.0.2.1", Some("alice"), "/send").await;
    assert_eq!(wait(&refused), ("1".to_owned(), 1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(ask_as(&app, "alice", "/send").await, 200);
    assert_eq!(ask_as(&app, "alice", "/send").await, 429);
    // After a long pause it is full, and no fuller.
    advance(Duration::from_hours(1)).await;
    for expected in [200, 200, 200, 429] {
        assert_eq!(ask_as(&app, "alice", "/send").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn seconds_to_wait_are_rounded_up() {
    let (app, _) = limited(RateLimits {
        profile_changes_per_minute: 40,
        profile_changes_burst: 1,
        ..RateLimits::default()
    });
    assert_eq!(ask_as(&app, "alice", "/profile").await, 200);
    let refused = ask(&app, "192.0.2.1", Some("alice"), "/profile").await;
    assert_eq!(wait(&refused), ("2".to_owned(), 1500));
    // Who waits as long as the header says comes through.
    advance(Duration::from_secs(2)).await;
    assert_eq!(ask_as(&app, "alice", "/profile").await, 200);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_session_is_known_by_the_address() {
    let (app, _) = limited(RateLimits {
        logins_burst: 2,
        ..RateLimits::default()
    });
    let login = async |address: &str| ask(&app, address, None, "/login").await.status.as_u16();
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8:0:1::1", 200),
        ("2001:db8:0:1::2", 200),
        ("2001:db8:0:1:ffff::", 429),
        ("2001:db8:0:2::1", 200),
    ] {
        assert_eq!(login(address).await, expected, "{address}");
    }
    // A login that also sends a token, good or bad, is one of the address too.
    for token in ["alice", "nonsense"] {
        let answer = ask(&app, "192.0.2.1", Some(token), "/login").await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{token}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_trusted_proxy_the_client_counts() {
    let (app, _) = limited(RateLimits {
        logins_burst: 1,
        ..RateLimits::default()
    });
    let login = async |client: &str| {
        let request = Request::post("/login")
            .extension(Peer("10.0.0.1:5".parse().unwrap()))
            .header("x-forwarded-for", client);
        let answer = send(&app, request.body(Body::empty()).unwrap()).await;
        answer.status.as_u16()
    };
    assert_eq!(login("192.0.2.1").await, 200);
    assert_eq!(login("192.0.2.2").await, 200);
    assert_eq!(login("192.0.2.1").await, 429);
    // Whatever the client itself wrote in front is not believed.
    assert_eq!(login("192.0.2.77, 192.0.2.1").await, 429);
}

#[tokio::test(start_paused = true)]
async fn the_address_is_checked_before_anything_is_read_or_looked_up() {
    let (app, state) = limited(RateLimits {
        logins_burst: 1,
        anonymous_requests_burst: 1,
        ..RateLimits::default()
    });
    let peer = Peer("192.0.2.1:5".parse().unwrap());
    let first = ask(&app, "192.0.2.1", None, "/login").await;
    assert_eq!(first.status, StatusCode::OK);
    // Reading this body would never end.
    let endless = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/login").extension(peer).body(endless);
    assert_eq!(send(&app, request.unwrap()).await.error().0, 429);
    assert_eq!(
        ask(&app, "192.0.2.1", None, "/optional").await.status,
        StatusCode::OK
    );
    assert_eq!(
        ask(&app, "192.0.2.1", None, "/optional").await.error().0,
        429
    );
    assert_eq!(ask_as(&app, "alice", "/optional").await, 200);
    assert_eq!(state.seen.lock().unwrap().len(), 1, "look-ups");
}

#[tokio::test(start_paused = true)]
async fn asking_for_the_servers_health_is_limited() {
    let (app, _) = limited(RateLimits {
        anonymous_requests_burst: 2,
        ..RateLimits::default()
    });
    for expected in [200, 200, 429] {
        let answer = ask(&app, "192.0.2.1", None, "/_starling/health").await;
        assert_eq!(answer.status.as_u16(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_cannot_be_guessed_at_speed() {
    let (app, state) = limited(RateLimits::default());
    let mut guesses = 0;
    while ask_as(&app, "nonsense", "/other").await == 401 {
        guesses += 1;
        assert!(guesses < 1000, "nobody stops it");
    }
    assert!(guesses >= 100, "an office whose tokens are all gone");
    let look_ups = || state.seen.lock().unwrap().len();
    let before = look_ups();
    assert_eq!(ask_as(&app, "more nonsense", "/other").await, 429);
    assert_eq!(ask_as(&app, "more nonsense", "/optional").await, 429);
    // Whoever shares the address goes on, as long as the address may ask anything at all.
    assert_eq!(ask_as(&app, "alice", "/other").await, 200);
    for _ in 0..1000 {
        assert_eq!(ask_as(&app, "more nonsense", "/other").await, 429);
    }
    let burst = usize::try_from(RateLimits::default().anonymous_requests_burst).unwrap();
    assert!(look_ups() <= before + burst, "{} look-ups", look_ups());
    assert_eq!(ask_as(&app, "alice", "/other").await, 429);
    let elsewhere = ask(&app, "192.0.2.2", Some("alice"), "/other").await;
    assert_eq!(elsewhere.status, StatusCode::OK);
    // A token that must be renewed is no guess.
    for _ in 0..1000 {
        let old = ask(&app, "192.0.2.3", Some("old"), "/other").await;
        assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn administrators_are_free_in_rooms_only() {
    let (app, _) = limited(RateLimits {
        messages_burst: 1,
        requests_burst: 1,
        ..RateLimits::default()
    });
    for (token, path, second) in [
        ("alice", "/send", 429),
        ("admin", "/send", 200),
        ("alice", "/other", 429),
        ("admin", "/other", 429),
    ] {
        assert_eq!(ask_as(&app, token, path).await, 200);
        assert_eq!(ask_as(&app, token, path).await, second, "{token} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn locked_accounts_and_refused_callers_are_counted_too() {
    let (app, _) = limited(RateLimits {
        requests_burst: 2,
        ..RateLimits::default()
    });
    for expected in [401, 401, 429] {
        assert_eq!(ask_as(&app, "locked", "/other").await, expected);
    }
    for expected in [403, 403, 429] {
        assert_eq!(ask_as(&app, "guest", "/other").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn normal_clients_never_notice() {
    let (app, _) = limited(RateLimits::default());
    // A start with 500 rooms, before anything else is asked.
    for _ in 0..900 {
        assert_eq!(ask_as(&app, "alice", "/other").await, 200);
    }
    // Twenty lines pasted, each sent on its own, and once more.
    for _ in 0..40 {
        assert_eq!(ask_as(&app, "alice", "/send").await, 200);
    }
    // A lively conversation for ten minutes, with a sync for each message.
    for _ in 0..600 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(ask_as(&app, "alice", "/send").await, 200);
        assert_eq!(ask_as(&app, "alice", "/other").await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_in_a_busy_loop_is_slowed() {
    let (app, _) = limited(RateLimits::default());
    let mut answered = 0;
    for _ in 0..10_000 {
        advance(Duration::from_millis(1)).await;
        answered += u32::from(ask_as(&app, "alice", "/other").await == 200);
    }
    // All at once, and then 25 a second.
    assert!((1200..1300).contains(&answered), "{answered} in 10 s");
}

#[tokio::test(start_paused = true)]
async fn without_limits_nobody_is_limited() {
    let (app, _) = limited(RateLimits {
        enabled: false,
        messages_burst: 1,
        logins_burst: 1,
        ..RateLimits::default()
    });
    for _ in 0..10 {
        assert_eq!(ask_as(&app, "alice", "/send").await, 200);
        assert_eq!(ask_as(&app, "alice", "/login").await, 200);
    }
}

fn limiter(limits: &RateLimits) -> RateLimiter {
    RateLimiter::new(limits, Clock::simulated(0))
}

fn is_refused(outcome: Result<(), MatrixError>) -> bool {
    outcome.is_err_and(|error| error.errcode == "M_LIMIT_EXCEEDED")
}

#[tokio::test(start_paused = true)]
async fn what_turns_out_harmless_is_given_back() {
    let limiter = limiter(&RateLimits {
        login_failures_per_minute: 1,
        login_failures_burst: 2,
        ..RateLimits::default()
    });
    let kind = Limited::LoginFailures;
    let alice = Caller::Account("alice");
    for _ in 0..10 {
        limiter.take(kind, alice).unwrap();
        limiter.give_back(kind, alice);
    }
    limiter.take(kind, alice).unwrap();
    limiter.check(kind, alice).unwrap();
    limiter.take(kind, alice).unwrap();
    // However the name is written, it is the same account.
    for name in ["alice", "ALICE", "@alice:example.org", "@Alice:other.org"] {
        assert!(
            is_refused(limiter.take(kind, Caller::Account(name))),
            "{name}"
        );
        assert!(
            is_refused(limiter.check(kind, Caller::Account(name))),
            "{name}"
        );
    }
    limiter.take(kind, Caller::Account("bob")).unwrap();
    advance(Duration::from_mins(1)).await;
    limiter.take(kind, alice).unwrap();
    assert!(is_refused(limiter.take(kind, alice)));
    // More than was taken cannot be given back.
    for _ in 0..10 {
        limiter.give_back(kind, alice);
    }
    limiter.take(kind, alice).unwrap();
    limiter.take(kind, alice).unwrap();
    assert!(is_refused(limiter.take(kind, alice)));
}

#[tokio::test(start_paused = true)]
async fn who_is_limited_stays_so_in_a_flood_of_addresses() {
    let limiter = limiter(&RateLimits::default());
    let exhaust = |kind, caller| {
        let taken = (0..100_000).take_while(|_| limiter.take(kind, caller).is_ok());
        assert!(taken.count() < 100_000);
    };
    let stranger = Caller::Address(Ipv4Addr::new(192, 0, 2, 1).into());
    let account = Caller::Account("alice");
    exhaust(Limited::Message, Caller::User(1));
    exhaust(Limited::Login, stranger);
    exhaust(Limited::LoginFailures, account);
    for address in 0..1_000_000_u32 {
        let address = Ipv4Addr::from_bits(0x0a00_0000 + address);
        let login = limiter.take(Limited::Login, Caller::Address(address.into()));
        assert!(login.is_ok(), "{address}");
    }
    assert!(is_refused(limiter.take(Limited::Message, Caller::User(1))));
    assert!(is_refused(limiter.take(Limited::Login, stranger)));
    assert!(is_refused(limiter.take(Limited::LoginFailures, account)));
}
