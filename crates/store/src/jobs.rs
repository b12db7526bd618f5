//! Jobs: what must happen after a change and is too much for its transaction. The note of a job is written in that
//! transaction; a runner works on it afterwards, piece by piece, also after a crash.
//!
//! There is one note per kind and subject. Noted once more, it is another note and begins anew: whoever works on the older
//! one may have read what was before.

use starling_db::{Error, Tx, Value};

use crate::numbers::{EventNum, RoomNum, UserNum};
use crate::store::Store;

starling_db::statements! {
    /// Notes a job, in place of an older note of it.
    JOB_NOTE = "INSERT INTO jobs (kind, subject, noted_at, due_at, progress) VALUES (?1, ?2, ?3, ?3, 0) \
        ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at, progress = 0, noted_at = \
        CASE WHEN excluded.noted_at > jobs.noted_at THEN excluded.noted_at ELSE jobs.noted_at + 1 END";
    /// What is to be worked on, beginning with what has waited longest.
    JOBS_DUE = "SELECT kind, subject, noted_at, progress FROM jobs WHERE due_at <= ?1 AND kind IN {texts ?2} \
        ORDER BY due_at LIMIT ?3";
    /// When there is something to be worked on.
    JOBS_NEXT = "SELECT min(due_at) FROM jobs WHERE kind IN {texts ?1}";
    /// How far a job is.
    JOB_PROCEED = "UPDATE jobs SET progress = ?4, due_at = ?5 \
        WHERE kind = ?1 AND subject = ?2 AND noted_at = ?3";
    /// The end of a job.
    JOB_DELETE = "DELETE FROM jobs WHERE kind = ?1 AND subject = ?2 AND noted_at = ?3";
}

/// The kinds of job that this program knows, by their names in the database. A newer program may have left others.
const KINDS: &[&str] = &[
    DEPARTURE,
    GUEST_DEPARTURE,
    PROFILE,
    PURGE,
    MEMBER_WORDS,
    UNTOLD_LEAVE,
];
const DEPARTURE: &str = "departure";
const GUEST_DEPARTURE: &str = "guest_departure";
const PROFILE: &str = "profile";
const PURGE: &str = "purge";
const MEMBER_WORDS: &str = "member_words";
const UNTOLD_LEAVE: &str = "untold_leave";

/// What is to be done, and for whom or where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// A deactivated user has to leave all rooms.
    Departure(UserNum),
    /// Guests have to leave a room, if it lets none in now.
    GuestDeparture(RoomNum),
    /// The rooms of a user have to show another name or picture.
    Profile(UserNum),
    /// All of a room is to be deleted.
    Purge(RoomNum),
    /// The words by which a room's members of other servers are found are to be written.
    MemberWords(RoomNum),
    /// The server that invited a user is to be told of the event by which they declined.
    UntoldLeave(EventNum),
}

impl Task {
    fn key(self) -> (&'static str, i64) {
        match self {
            Self::Departure(user) => (DEPARTURE, user.0),
            Self::GuestDeparture(room) => (GUEST_DEPARTURE, room.0),
            Self::Profile(user) => (PROFILE, user.0),
            Self::Purge(room) => (PURGE, room.0),
            Self::MemberWords(room) => (MEMBER_WORDS, room.0),
            Self::UntoldLeave(leave) => (UNTOLD_LEAVE, leave.0),
        }
    }

    fn of(kind: &str, subject: i64) -> Result<Self, Error> {
        match kind {
            DEPARTURE => Ok(Self::Departure(UserNum(subject))),
            GUEST_DEPARTURE => Ok(Self::GuestDeparture(RoomNum(subject))),
            PROFILE => Ok(Self::Profile(UserNum(subject))),
            PURGE => Ok(Self::Purge(RoomNum(subject))),
            MEMBER_WORDS => Ok(Self::MemberWords(RoomNum(subject))),
            UNTOLD_LEAVE => Ok(Self::UntoldLeave(EventNum(subject))),
            other => Err(Error::Damaged(format!("there is no job called {other}"))),
        }
    }
}

/// The note of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// What is to be done.
    pub task: Task,
    /// When it was noted, in milliseconds since 1970; parts it from other notes of the same.
    pub noted_at: i64,
    /// How far it is, as it says itself; 0 at the beginning.
    pub progress: i64,
}

/// How far a job is after a piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on from here.
    At(i64),
    /// It begins once more, at this time (milliseconds since 1970).
    Again(i64),
    /// The piece has failed; it is tried again, at this time (milliseconds since 1970).
    PutOff(i64),
    /// There is nothing left to do.
    Done,
}

impl Store {
    /// Notes what has to be done, in the transaction that brings it about. After the commit, the runner of this process
    /// wakes up.
    ///
    /// # Errors
    /// When the database fails.
    pub fn job_note(&self, tx: &mut Tx<'_>, task: Task, now_ms: i64) -> Result<(), Error> {
        let (kind, subject) = task.key();
        tx.execute_one(&JOB_NOTE, &[kind.into(), subject.into(), now_ms.into()])?;
        let store = self.clone();
        tx.after_commit(move || store.jobs().notify_one());
        Ok(())
    }
}

/// At most `limit` jobs that are due, beginning with what has waited longest.
///
/// # Errors
/// When the database cannot be read.
pub fn jobs_due(tx: &mut Tx<'_>, now_ms: i64, limit: u32) -> Result<Vec<Job>, Error> {
    let params = [now_ms.into(), Value::Texts(KINDS), i64::from(limit).into()];
    tx.query_all(&JOBS_DUE, &params, |row| {
        Ok(Job {
            task: Task::of(row.text(0)?, row.int(1)?)?,
            noted_at: row.int(2)?,
            progress: row.int(3)?,
        })
    })
}

/// When the next job is due, if there is any, in milliseconds since 1970.
///
/// # Errors
/// When the database cannot be read.
pub fn jobs_next(tx: &mut Tx<'_>) -> Result<Option<i64>, Error> {
    let next = tx.query_one(&JOBS_NEXT, &[Value::Texts(KINDS)], |row| row.opt_int(0))?;
    Ok(next.flatten())
}

/// Notes how far a job is, unless it was noted once more meanwhile.
///
/// # Errors
/// When the database fails.
pub fn job_proceed(
    tx: &mut Tx<'_>,
    job: &Job,
    progress: Progress,
    now_ms: i64,
) -> Result<(), Error> {
    let (kind, subject) = job.task.key();
    let (progress, due_at) = match progress {
        Progress::At(progress) => (progress, now_ms),
        Progress::Again(due_at) => (0, due_at),
        Progress::PutOff(due_at) => (job.progress, due_at),
        Progress::Done => {
            let params = [kind.into(), subject.into(), job.noted_at.into()];
            return tx.execute(&JOB_DELETE, &params).map(drop);
        }
    };
    let params = [
        kind.into(),
        subject.into(),
        job.noted_at.into(),
        progress.into(),
        due_at.into(),
    ];
    tx.execute(&JOB_PROCEED, &params).map(drop)
}
