//! `starling report …`: what users have reported to the administrator.

use starling_accounts::{Accounts, Report, Reported};

use crate::cli::print;
use crate::configuration::Configuration;
use crate::control::{Answer, ListedReport, Request};
use crate::failure::Failure;
use crate::token::date;
use crate::user::database;
use crate::way::Way;

/// Reports in one page of the list: an answer is at most 1 MiB, and JSON writes a byte of a reason as six at most.
const PAGE: u32 = 30;

/// `starling report list`.
pub(crate) fn list(configuration: &Configuration) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let mut after = Some(0);
    while let Some(from) = after {
        let Answer::Reports { reports, next } = way.ask(Request::ListReports { after: from })?
        else {
            return Err(Failure::new("the server gave no list"));
        };
        let line = |report: &ListedReport| {
            let ListedReport {
                number,
                at,
                by,
                what,
                reason,
            } = report;
            // Users wrote the reason: none of it may steer the terminal or begin another line.
            let reason: String = reason.chars().flat_map(char::escape_debug).collect();
            format!("{number}\t{at}\t{by}\t{what}\t{reason}\n")
        };
        if !reports.is_empty() {
            print(reports.iter().map(line).collect::<String>())?;
        }
        after = next;
    }
    way.close();
    Ok(())
}

/// `starling report delete`.
pub(crate) fn delete(configuration: &Configuration, number: i64) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let answer = way.ask(Request::DeleteReport { number })?;
    way.close();
    match answer {
        Answer::Report { number } => print(format!("report {number} is deleted")),
        _ => Err(Failure::new("the server gave no answer that fits")),
    }
}

/// One page of the reports.
pub(crate) async fn page(accounts: &Accounts, after: i64) -> Result<Answer, Failure> {
    let page = accounts.reports(after, PAGE).await;
    let page = page.map_err(|error| database(&error))?;
    let is_full = u32::try_from(page.len()).is_ok_and(|length| length == PAGE);
    let next = page.last().filter(|_| is_full);
    Ok(Answer::Reports {
        next: next.map(|report| report.number),
        reports: page.into_iter().map(listed).collect(),
    })
}

/// Removes a report.
pub(crate) async fn remove(accounts: &Accounts, number: i64) -> Result<Answer, Failure> {
    let removed = accounts.delete_report(number).await;
    if removed.map_err(|error| database(&error))? {
        Ok(Answer::Report { number })
    } else {
        Err(Failure::new(format!("there is no report {number}")))
    }
}

fn listed(report: Report) -> ListedReport {
    let what = match report.reported {
        Reported::Room(room_id) => format!("room {room_id}"),
        Reported::Event { room_id, event_id } => format!("event {event_id} of room {room_id}"),
        Reported::User(user_id) => format!("user {user_id}"),
    };
    ListedReport {
        number: report.number,
        at: date(report.created_at),
        by: report.reporter.into(),
        what,
        reason: report.reason,
    }
}
