//! The benchmark of whole servers, on a small server and for moments only: it does what its tables say it did.

use std::time::Duration;

use serde_json::Value as Json;
use starling_bench::servers::plan::{Family, Plan};
use starling_bench::servers::processes::Processes;
use starling_bench::servers::report::Report;
use starling_bench::servers::run::Run;
use starling_bench::servers::site::Site;
use starling_bench::servers::target::Target;

use crate::floor::Running;

pub(crate) const MOMENT: Duration = Duration::from_millis(30);

pub(crate) const PLAN: Plan = Plan {
    rounds: 2,
    senders: &[1, 3, 10],
    rooms: 4,
    send: MOMENT,
    clients: &[2, 14],
    fan_out: MOMENT,
    devices: &[],
    device_patience: Duration::from_mins(1),
    claims: MOMENT,
    idle_clients: 15,
    idle: MOMENT,
    accounts: MOMENT,
    events: 1600,
    window: 100,
    synced_rooms: &[2, 10],
    sync: MOMENT,
    listener_patience: Duration::from_mins(1),
    settle: MOMENT,
    joined_members: &[],
    inbound_rooms: &[],
    inbound_members: 0,
    inbound_events: 0,
    missed: 50,
    sync_patience: Duration::from_mins(1),
    patience: Duration::from_mins(1),
};

async fn measure(floor: &Running, only: Vec<Family>) -> Report {
    let target: Target = format!("here=http://{},pid={}", floor.address, std::process::id())
        .parse()
        .unwrap();
    let mut run = Run {
        plan: PLAN,
        only,
        name: "test".to_owned(),
        sites: vec![Site::new(target, None)],
        resident: None,
        report: Report::default(),
        progress: |_| {},
    };
    run.all().await;
    let failures = run.sites.iter().filter_map(|site| site.failure.as_ref());
    assert_eq!(failures.count(), 0);
    run.report
}

#[tokio::test]
async fn everything_is_measured_and_what_was_sent_is_stored() {
    let floor = Running::start().await;
    let report = measure(&floor, Vec::new()).await;
    let scenarios: Vec<&str> = report
        .rows
        .iter()
        .map(|row| row.scenario.as_str())
        .collect();
    assert_eq!(
        scenarios,
        [
            "register, 2 at once",
            "log in, 2 at once",
            "send, 1 senders, rooms: 1",
            "send, 1 senders, rooms: 4",
            "send, 3 senders, rooms: 1",
            "send, 3 senders, rooms: 4",
            "send, 10 senders, rooms: 1",
            "send, 10 senders, rooms: 4",
            "send, 10 senders, after 1000 events",
            "send, 10 senders, after 1600 events",
            "fan-out, 1 sender to 2 clients",
            "fan-out, 1 sender to 14 clients",
            "first sync, 2 rooms",
            "first sync, 10 rooms",
            "sync with nothing new, 2 rooms",
            "sync with nothing new, 10 rooms",
            "sync after 50 events in 10 rooms",
        ]
    );
    let mut sent = 0;
    for row in &report.rows {
        for round in &row.rounds {
            assert!(round.operations > 0 && round.seconds > 0.0, "{row:?}");
            assert!(round.cpu_seconds.is_some(), "{row:?}");
            assert!(round.median_ms.is_some(), "{row:?}");
            assert_eq!(round.p99_ms.is_some(), round.operations >= 100, "{row:?}");
            assert!(
                round
                    .p99_ms
                    .is_none_or(|most| Some(most) >= round.median_ms),
                "{row:?}"
            );
            assert!(round.client_cpu_seconds > 0.0, "{row:?}");
        }
        if row.scenario.contains("senders, rooms:") {
            sent += row.rounds.iter().map(|round| round.operations).sum::<u64>();
        }
    }
    let stored = floor.stop().await.len();
    // The warm-ups come on top, and the growing room, and what was told to listeners.
    assert!(stored as u64 >= sent + 1600, "{stored} stored, {sent} sent");
    check_figures(&report);
}

fn check_figures(report: &Report) {
    for what in [
        "memory at start, MB",
        "memory after all that, MB",
        "15 idle clients: CPU, ms per second",
        "15 idle clients: memory, MB",
    ] {
        let figure = report.figures.iter().find(|figure| figure.what == what);
        assert!(figure.is_some_and(|figure| figure.value >= 0.0), "{what}");
    }
    let json: Json = serde_json::to_value(report).unwrap();
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(17));
    let text = report.markdown("here", "elsewhere");
    let rows = text.lines().filter(|line| line.starts_with("| send, "));
    assert_eq!(rows.count(), 8, "{text}");
}

#[tokio::test]
async fn a_family_can_be_measured_alone() {
    let floor = Running::start().await;
    let report = measure(&floor, vec![Family::FanOut]).await;
    assert_eq!(report.rows.len(), PLAN.clients.len());
    for (row, &clients) in report.rows.iter().zip(PLAN.clients) {
        for round in &row.rounds {
            // A round ends when all have the last message.
            assert_eq!(round.operations % clients as u64, 0, "{row:?}");
        }
    }
    floor.stop().await;
}

#[tokio::test]
async fn a_server_that_fails_is_noted_and_the_others_are_measured() {
    let floor = Running::start().await;
    // Nobody listens there any longer.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [
        ("gone", gone.local_addr().unwrap()),
        ("here", floor.address),
    ];
    drop(gone);
    let target =
        |(name, address)| -> Target { format!("{name}=http://{address}").parse().unwrap() };
    let mut run = Run {
        plan: PLAN,
        only: vec![
            Family::Accounts,
            Family::FanOut,
            Family::Sync,
            Family::Growth,
            Family::Idle,
        ],
        name: "test".to_owned(),
        sites: addresses
            .map(|address| Site::new(target(address), None))
            .into(),
        resident: None,
        report: Report::default(),
        progress: |_| {},
    };
    run.all().await;
    let (gone, here): (Vec<_>, Vec<_>) =
        run.report.rows.iter().partition(|row| row.server == "gone");
    assert_eq!(gone.len(), here.len());
    for row in gone {
        assert!(row.rounds.is_empty(), "{row:?}");
        assert!(row.note.starts_with("failed: "), "{row:?}");
    }
    for row in here {
        assert!(!row.rounds.is_empty(), "{row:?}");
        assert_eq!(row.note, "", "{row:?}");
    }
    floor.stop().await;
}

#[test]
fn targets_are_named_with_an_address() {
    let refused = ["here", "here=localhost", "here=http://127.0.0.1:1,pid=x"];
    for text in refused {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
    let target: Target = "here=http://127.0.0.1:8008/,token=t".parse().unwrap();
    assert_eq!(target.name, "here");
    assert_eq!(target.address, "127.0.0.1:8008".parse().unwrap());
    assert_eq!(target.registration_token.as_deref(), Some("t"));
    assert_eq!(target.cpu_time(), None);
}

#[test]
fn processes_are_read_with_their_children() {
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    let ours = Processes::of(vec![std::process::id()]);
    let alone = Processes::of(vec![child.id()]);
    let (all, part) = (ours.memory(), alone.memory());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(part > 0);
    assert!(all > part, "{all} and {part}");
    assert_eq!(alone.memory(), 0);
}
