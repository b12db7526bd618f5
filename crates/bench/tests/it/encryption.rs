//! What is measured of encryption, on our own server without the program around it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use starling_bench::servers::plan::{Family, Plan};
use starling_bench::servers::report::Report;
use starling_bench::servers::run::Run;
use starling_bench::servers::site::Site;
use starling_db::Dialect;
use starling_store::SCHEMA;
use starling_testkit::{TestDb, TestServer};
use tokio::net::TcpListener;

use crate::servers::{MOMENT, PLAN};

async fn answer(
    server: &TestServer,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    let token = head.headers.get(AUTHORIZATION);
    let token = token.and_then(|it| it.to_str().unwrap().strip_prefix("Bearer "));
    let path = head.uri.path_and_query().unwrap().as_str();
    let (status, body) = server.answer(head.method, path, token, body).await;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}

async fn listen(server: TestServer) -> SocketAddr {
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let service = service_fn(async |request| answer(&server, request).await);
                let connection = http1::Builder::new();
                // A client hangs up when it has heard enough.
                let ended = connection.serve_connection(TokioIo::new(stream), service);
                ended.await.ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn keys_are_claimed_and_messages_reach_devices_once() {
    let db = TestDb::open(Dialect::Sqlite, &SCHEMA).await;
    let address = listen(TestServer::start(&db).await).await;
    let target = format!("here=http://{address},pid={}", std::process::id());
    let mut run = Run {
        plan: Plan {
            devices: &[3, 12],
            claims: MOMENT,
            ..PLAN
        },
        only: vec![Family::Claims, Family::ToDevice],
        name: "test".to_owned(),
        sites: vec![Site::new(target.parse().unwrap(), None)],
        resident: None,
        report: Report::default(),
        progress: |_| {},
    };
    run.all().await;
    assert_eq!(run.sites[0].failure, None);
    let scenarios: Vec<&str> = run.report.rows.iter().map(|it| &*it.scenario).collect();
    assert_eq!(
        scenarios,
        [
            "claim keys of 3 devices, 10 at once",
            "claim keys of 12 devices, 10 at once",
            "to-device, 1 sender to 3 devices",
            "to-device, 1 sender to 12 devices",
        ]
    );
    for (row, devices) in run.report.rows.iter().zip([3, 12, 3, 12]) {
        assert_eq!((row.rounds.len(), &*row.note), (2, ""), "{row:?}");
        for round in &row.rounds {
            assert!(round.operations > 0, "{row:?}");
            assert_eq!(round.operations % devices, 0, "{row:?}");
            assert!(round.cpu_seconds.is_some(), "{row:?}");
        }
    }
    // Of two users.
    assert_eq!(run.sites[0].devices.owners.len(), 2);
    assert_eq!(run.sites[0].devices.all.len(), 12);
}
