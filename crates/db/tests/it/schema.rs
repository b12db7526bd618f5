//! The tests' own small schema, and what they read and write in it.

use starling_db::{Db, Error, Migration, Positions, Schema, Tx, Value, Write};

/// Two tables: rows that have a position, and rows that have none.
pub(crate) static SCHEMA: Schema = Schema {
    migrations: &MIGRATIONS,
    oldest_program: 1,
};

/// The migrations of [`SCHEMA`], the one that a newer program adds being the last.
pub(crate) static NEWER_MIGRATIONS: [Migration; 3] = [START, INDEX, NEWER];
static MIGRATIONS: [Migration; 2] = [START, INDEX];

pub(crate) const START: Migration = Migration {
    name: "0001_start",
    text: "
        CREATE TABLE notes (position BIGINT PRIMARY KEY, author TEXT NOT NULL, body {bytes} NOT NULL);
        CREATE TABLE pairs (id BIGINT NOT NULL, name TEXT NOT NULL, data {bytes}, PRIMARY KEY (id)) {keyed};
        CREATE TABLE numbered (id {id}, name TEXT NOT NULL UNIQUE);
    ",
};
const INDEX: Migration = Migration {
    name: "0002_index",
    text: "CREATE UNIQUE INDEX pairs_by_name ON pairs (name)",
};
const NEWER: Migration = Migration {
    name: "0003_newer",
    text: "ALTER TABLE pairs ADD COLUMN extra BIGINT",
};

starling_db::statements! {
    NOTE_ADD = "INSERT INTO notes (position, author, body) VALUES (?1, ?2, ?3)";
    NOTE_POSITIONS = "SELECT position FROM notes ORDER BY position";
    NOTES_UP_TO = "SELECT position FROM notes WHERE position <= ?1 ORDER BY position";
    NOTE_AUTHORS = "SELECT author FROM notes ORDER BY position";
    NOTE_DELETE = "DELETE FROM notes WHERE position = ?1";
    PAIR_ADD = "INSERT INTO pairs (id, name) VALUES (?1, ?2)";
    PAIR_ADD_DATA = "INSERT INTO pairs (id, name, data) VALUES (?1, ?2, ?3)";
    PAIR_SET = "INSERT INTO pairs (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
    PAIR_ADD_RETURNING = "INSERT INTO pairs (id, name) VALUES (?1, ?2) RETURNING id";
    PAIR_RENAME = "UPDATE pairs SET name = ?2 WHERE id = ?1";
    PAIR_IDS = "SELECT id FROM pairs ORDER BY id";
    PAIR_ROW = "SELECT id, name, data FROM pairs WHERE id = ?1";
    PAIRS_BY_IDS = "SELECT id FROM pairs WHERE id IN {ints ?1} ORDER BY id";
    PAIRS_BY_NAMES = "SELECT id FROM pairs WHERE name IN {texts ?1} ORDER BY id";
    PAIRS_BY_DATA = "SELECT id FROM pairs WHERE data IN {blobs ?1} ORDER BY id";
    PAIRS_ADD = "INSERT INTO pairs (id, name, data) SELECT c1, c2, c3 FROM {zip ints ?1 texts ?2 blobs ?3} AS added";
    NUMBERED_ADD = "INSERT INTO numbered (name) VALUES (?1) ON CONFLICT (name) DO NOTHING RETURNING id";
}

pub(crate) type Answer<T> = Result<T, Error>;

/// Adds a row to `pairs`.
pub(crate) fn add_pair(tx: &mut Tx<'_>, id: i64) -> Answer<()> {
    tx.execute_one(
        &PAIR_ADD,
        &[id.into(), format!("pair {id}").as_str().into()],
    )
}

/// Adds a row with a position, and answers the position.
pub(crate) fn add_note(tx: &mut Tx<'_>, positions: &mut Positions, author: &str) -> Answer<i64> {
    let position = positions.give()?;
    tx.execute_one(
        &NOTE_ADD,
        &[position.into(), author.into(), Value::Bytes(b"body")],
    )?;
    Ok(position)
}

/// Writes one note by `author`.
pub(crate) async fn write_note(db: &Db, author: &str) -> Answer<i64> {
    let author = author.to_owned();
    let place =
        move |tx: &mut Tx<'_>, positions: &mut Positions, ()| add_note(tx, positions, &author);
    db.write_placed(Write::new("note"), |_| Ok(()), place).await
}

/// Writes one pair.
pub(crate) async fn write_pair(db: &Db, id: i64) -> Answer<()> {
    db.write(Write::new("pair"), move |tx| add_pair(tx, id))
        .await
}

/// The ids of all pairs.
pub(crate) async fn pair_ids(db: &Db) -> Vec<i64> {
    db.read("pair_ids", |tx| {
        tx.query_all(&PAIR_IDS, &[], |row| row.int(0))
    })
    .await
    .unwrap()
}

/// The positions of all notes.
pub(crate) async fn note_positions(db: &Db) -> Vec<i64> {
    db.read("note_positions", |tx| {
        tx.query_all(&NOTE_POSITIONS, &[], |row| row.int(0))
    })
    .await
    .unwrap()
}

/// The last position given out.
pub(crate) async fn head(db: &Db) -> i64 {
    db.head().await.unwrap().0
}
