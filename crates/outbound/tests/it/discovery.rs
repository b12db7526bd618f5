//! <https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names>

use std::sync::Arc;

use http::Response;
use ruma_common::OwnedServerName;
use starling_outbound::{Addresses, Answer, Network, OutboundError, Ports, Request, Transport};

use crate::support::{Authority, Peer, Setting, Table, dead_port};

fn server(name: &str) -> OwnedServerName {
    name.try_into().expect("a server name")
}

async fn ask(
    authority: &Authority,
    table: Table,
    name: &str,
) -> (Result<Answer, OutboundError>, Vec<String>) {
    let table = Arc::new(table);
    let network = Setting::new().network(authority, Arc::clone(&table), Addresses::All);
    let answer = network
        .send(
            &server(name),
            Request::get("/_matrix/federation/v1/version"),
        )
        .await;
    let asked = table.asked.lock().clone();
    (answer, asked)
}

/// Step 1.
#[tokio::test]
async fn an_address_is_used_as_it_is() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "127.0.0.1").await;
    let name = format!("127.0.0.1:{}", peer.port);
    let (answer, asked) = ask(&authority, Table::default(), &name).await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(peer.last().uri, "/_matrix/federation/v1/version");
    assert_eq!(peer.last().host, name);
}

/// Step 1: the certificate must be one of the address.
#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "other.example").await;
    let (answer, _) = ask(
        &authority,
        Table::default(),
        &format!("127.0.0.1:{}", peer.port),
    )
    .await;
    assert!(
        matches!(answer, Err(OutboundError::Connection(_))),
        "{answer:?}"
    );
    let table = Table::default().address("a.example", "127.0.0.1");
    let (answer, _) = ask(&authority, table, &format!("a.example:{}", peer.port)).await;
    assert!(
        matches!(answer, Err(OutboundError::Connection(_))),
        "{answer:?}"
    );
    assert!(peer.asked.lock().is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let peer = Peer::start(&Authority::new(), "127.0.0.1").await;
    let name = format!("127.0.0.1:{}", peer.port);
    let (answer, _) = ask(&Authority::new(), Table::default(), &name).await;
    assert!(
        matches!(answer, Err(OutboundError::Connection(_))),
        "{answer:?}"
    );
    assert!(peer.asked.lock().is_empty());
}

/// Step 2.
#[tokio::test]
async fn a_name_with_a_port_is_looked_up_without_well_known_or_services() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "a.example").await;
    let table = Table::default().address("a.example", "127.0.0.1");
    let name = format!("a.example:{}", peer.port);
    let (answer, asked) = ask(&authority, table, &name).await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(asked, ["a.example"]);
    assert_eq!(peer.last().host, name);
}

/// Steps 4 and 5: without a valid well-known file, services are asked for, the registered one first.
#[tokio::test]
async fn services_say_where_a_name_is() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "a.example").await;
    let table = Table::default()
        .service(
            "_matrix-fed._tcp.a.example",
            (10, peer.port),
            "host.example",
        )
        .service("_matrix._tcp.a.example", (0, 1), "old.example")
        .address("host.example", "127.0.0.1");
    let (answer, asked) = ask(&authority, table, "a.example").await;
    assert_eq!(answer.expect("an answer").status, 200);
    // The first is for the well-known file.
    assert_eq!(
        asked,
        ["a.example", "_matrix-fed._tcp.a.example", "host.example"]
    );
    assert_eq!(peer.last().host, "a.example");

    let peer = Peer::start(&authority, "b.example").await;
    let table = Table::default()
        .service("_matrix._tcp.b.example", (10, peer.port), "host.example")
        .fails("_matrix-fed._tcp.b.example")
        .address("host.example", "127.0.0.1");
    let (answer, _) = ask(&authority, table, "b.example").await;
    assert_eq!(answer.expect("an answer").status, 200);
}

#[tokio::test]
async fn services_are_tried_by_priority_until_one_answers() {
    let authority = Authority::new();
    let (dead, peer) = (
        dead_port().await,
        Peer::start(&authority, "a.example").await,
    );
    let table = Table::default()
        .service(
            "_matrix-fed._tcp.a.example",
            (20, peer.port),
            "host.example",
        )
        .service("_matrix-fed._tcp.a.example", (10, dead), "host.example")
        .service("_matrix-fed._tcp.a.example", (1, peer.port), "gone.example")
        .address("host.example", "127.0.0.1");
    let (answer, asked) = ask(&authority, table, "a.example").await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(
        asked,
        [
            "a.example",
            "_matrix-fed._tcp.a.example",
            "gone.example",
            "host.example",
            "host.example"
        ]
    );
}

/// Step 6.
#[tokio::test]
async fn without_services_the_name_itself_is_asked() {
    let authority = Authority::new();
    let (web, peer) = (
        dead_port().await,
        Peer::start(&authority, "a.example").await,
    );
    let table = Arc::new(Table::default().address("a.example", "127.0.0.1"));
    let network = on_ports(&authority, &table, (web, peer.port));
    let answer = network.send(&server("a.example"), Request::get("/x")).await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(peer.last().host, "a.example");
    assert_eq!(
        *table.asked.lock(),
        [
            "a.example",
            "_matrix-fed._tcp.a.example",
            "_matrix._tcp.a.example",
            "a.example"
        ]
    );
}

fn on_ports(authority: &Authority, table: &Arc<Table>, (web, matrix): (u16, u16)) -> Network {
    let setting = Setting {
        ports: Ports { web, matrix },
        ..Setting::new()
    };
    setting.network(authority, Arc::clone(table), Addresses::All)
}

/// Step 3, with a port in what it delegates to; and the file is asked for once.
#[tokio::test]
async fn a_well_known_file_delegates() {
    let authority = Authority::new();
    let web = Peer::start(&authority, "a.example").await;
    let peer = Peer::start(&authority, "matrix.example").await;
    let delegate: &'static str =
        Box::leak(format!(r#"{{"m.server":"matrix.example:{}"}}"#, peer.port).into_boxed_str());
    web.answers(Response::new(delegate));
    let table = Arc::new(
        Table::default()
            .address("a.example", "127.0.0.1")
            .address("matrix.example", "127.0.0.1"),
    );
    let network = on_ports(&authority, &table, (web.port, 1));
    for _ in 0..3 {
        let answer = network.send(&server("a.example"), Request::get("/x")).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    assert_eq!(peer.last().host, format!("matrix.example:{}", peer.port));
    assert_eq!(web.asked.lock().len(), 1);
    assert_eq!(web.last().uri, "/.well-known/matrix/server");
    assert_eq!(web.last().authorization, "");
}

/// Steps 3.3 and 3.5: without a port, what is delegated to has services or is on port 8448.
#[tokio::test]
async fn what_is_delegated_to_is_looked_up_like_a_name() {
    let authority = Authority::new();
    let web = Peer::start(&authority, "a.example").await;
    let peer = Peer::start(&authority, "matrix.example").await;
    web.answers(Response::new(r#"{"m.server":"matrix.example"}"#));
    let table = Table::default()
        .address("a.example", "127.0.0.1")
        .address("host.example", "127.0.0.1")
        .service(
            "_matrix-fed._tcp.matrix.example",
            (1, peer.port),
            "host.example",
        );
    let network = on_ports(&authority, &Arc::new(table), (web.port, 1));
    let answer = network.send(&server("a.example"), Request::get("/x")).await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(peer.last().host, "matrix.example");

    let table = Table::default()
        .address("a.example", "127.0.0.1")
        .address("matrix.example", "127.0.0.1");
    let network = on_ports(&authority, &Arc::new(table), (web.port, peer.port));
    let answer = network.send(&server("a.example"), Request::get("/x")).await;
    assert_eq!(answer.expect("an answer").status, 200);
}

/// What is no valid file delegates to nobody.
#[tokio::test]
async fn without_a_valid_file_the_name_stands_for_itself() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "a.example").await;
    let table = Arc::new(Table::default().address("a.example", "127.0.0.1"));
    let answers = [
        Response::new("{}"),
        Response::new("not JSON"),
        Response::new(r#"{"m.server":"not a name"}"#),
        Response::new(r#"{"m.server":7}"#),
        Response::builder()
            .status(404)
            .body(r#"{"m.server":"b.example"}"#)
            .expect("an answer"),
    ];
    for answer in answers {
        let web = Peer::start(&authority, "a.example").await;
        let described = format!("{answer:?}");
        web.answers(answer);
        let network = on_ports(&authority, &table, (web.port, peer.port));
        let answer = network.send(&server("a.example"), Request::get("/x")).await;
        assert_eq!(answer.expect(&described).status, 200);
        assert_eq!(web.asked.lock().len(), 1, "{described}");
    }
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let authority = Authority::new();
    let web = Peer::start(&authority, "a.example").await;
    let other = Peer::start(&authority, "b.example").await;
    let peer = Peer::start(&authority, "matrix.example").await;
    let redirect = |to: String| {
        let location = Box::leak(to.into_boxed_str());
        Response::builder()
            .status(302)
            .header("Location", &*location)
            .body("")
            .expect("an answer")
    };
    let delegate: &'static str =
        Box::leak(format!(r#"{{"m.server":"matrix.example:{}"}}"#, peer.port).into_boxed_str());
    let table = Arc::new(
        Table::default()
            .address("a.example", "127.0.0.1")
            .address("b.example", "127.0.0.1")
            .address("matrix.example", "127.0.0.1"),
    );
    web.answers(redirect(format!(
        "https://b.example:{}/somewhere",
        other.port
    )));
    other.answers(Response::new(delegate));
    let network = on_ports(&authority, &table, (web.port, 1));
    let answer = network.send(&server("a.example"), Request::get("/x")).await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(other.last().uri, "/somewhere");

    web.answers(redirect("/.well-known/matrix/server".to_owned()));
    let network = on_ports(&authority, &table, (web.port, 1));
    let before = web.asked.lock().len();
    let answer = network.send(&server("a.example"), Request::get("/x")).await;
    assert!(answer.is_err());
    assert_eq!(web.asked.lock().len() - before, 6);
}

#[tokio::test]
async fn a_name_without_addresses_is_told() {
    let authority = Authority::new();
    let (answer, _) = ask(&authority, Table::default(), "nowhere.example:1").await;
    assert!(
        matches!(answer, Err(OutboundError::NoAddress(_))),
        "{answer:?}"
    );
    let table = Table::default().fails("broken.example");
    let (answer, _) = ask(&authority, table, "broken.example:1").await;
    assert!(
        matches!(answer, Err(OutboundError::Resolver(_))),
        "{answer:?}"
    );
}

/// Whoever owns a name decides where it leads.
#[tokio::test]
async fn private_addresses_are_refused_also_after_they_were_looked_up() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "a.example").await;
    let table = Table::default().address("a.example", "127.0.0.1").service(
        "_matrix-fed._tcp.b.example",
        (10, peer.port),
        "a.example",
    );
    let network = Setting::new().network(&authority, Arc::new(table), Addresses::Public);
    let port = peer.port;
    for name in [
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("a.example:{port}"),
        "b.example".to_owned(),
    ] {
        let answer = network.send(&server(&name), Request::get("/x")).await;
        assert!(
            matches!(answer, Err(OutboundError::RefusedAddress { .. })),
            "{name}: {answer:?}"
        );
    }
    assert_eq!(*peer.connections.lock(), 0);
}

#[tokio::test]
async fn connections_are_used_again_over_http_2() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "a.example").await;
    let table = Table::default().address("a.example", "127.0.0.1");
    let network = Setting::new().network(&authority, Arc::new(table), Addresses::All);
    let name = server(&format!("a.example:{}", peer.port));
    for _ in 0..5 {
        let answer = network.send(&name, Request::get("/x")).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    assert_eq!(peer.last().version, http::Version::HTTP_2);
    assert_eq!(*peer.connections.lock(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused() {
    let authority = Authority::new();
    let peer = Peer::start(&authority, "127.0.0.1").await;
    peer.answers(Response::new("{\"a\":\"0123456789\"}"));
    let network = Setting::new().network(&authority, Arc::default(), Addresses::All);
    let name = server(&format!("127.0.0.1:{}", peer.port));
    let answer = network
        .send(&name, Request::get("/x").answer_bytes(10))
        .await;
    assert!(
        matches!(answer, Err(OutboundError::TooLarge(10))),
        "{answer:?}"
    );
}
