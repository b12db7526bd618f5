//! Purging a room: nothing of it stays, in no table, and all of others does.

use std::collections::BTreeMap;

use starling_db::{Dialect, Error, Sql, Tx, Value, Write};
use starling_store::purge::{PURGE_BEGUN, PurgeProgress};
use starling_store::{CacheSizes, RoomNum, SCHEMA, Store};
use starling_testkit::{TestDb, on_each_engine};

const ROOM: i64 = 1_001;
const OTHER: i64 = 1_002;

/// So many rows of a room are put into each table, where its key lets so many in.
const ROWS: i64 = 600;

/// Tables whose rows are of a room, and don't say so.
const OF_EVENTS: [&str; 3] = ["auth_edges", "destination_events", "transactions"];

static COLUMNS_SQLITE: Sql = Sql::new(
    "columns_sqlite",
    "SELECT found.name, columns.name, columns.type
        FROM sqlite_master AS found CROSS JOIN pragma_table_info(found.name) AS columns
        WHERE found.type = 'table' ORDER BY found.name, columns.cid",
);
static COLUMNS_POSTGRES: Sql = Sql::new(
    "columns_postgres",
    "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT)
        FROM information_schema.columns WHERE table_schema = current_schema()
        ORDER BY table_name, ordinal_position",
);

/// The columns of each table, and their types.
type Tables = BTreeMap<String, Vec<(String, String)>>;

fn tables(tx: &mut Tx<'_>) -> Result<Tables, Error> {
    let columns = match tx.dialect() {
        Dialect::Sqlite => &COLUMNS_SQLITE,
        Dialect::Postgres => &COLUMNS_POSTGRES,
    };
    let rows = tx.query_all(columns, &[], |row| {
        let text = |column| row.text(column).map(str::to_owned);
        Ok((text(0)?, (text(1)?, text(2)?)))
    })?;
    let mut tables = Tables::new();
    for (table, column) in rows {
        tables.entry(table).or_default().push(column);
    }
    Ok(tables)
}

/// The tables with rows of rooms.
async fn of_rooms(db: &TestDb) -> Tables {
    let mut tables = db.db().read("tables", tables).await.unwrap();
    tables.retain(|_, columns| columns.iter().any(|(name, _)| name == "room_num"));
    assert!(tables.len() > 20, "the list is not empty by mistake");
    tables
}

/// A statement that is made up by a test.
fn statement(name: String, text: String) -> &'static Sql {
    let sql = Sql::new(
        Box::leak(name.into_boxed_str()),
        Box::leak(text.into_boxed_str()),
    );
    Box::leak(Box::new(sql))
}

/// Puts rows of a room into a table: its numbers from `first` on.
async fn fill(db: &TestDb, (table, columns): (&str, &[(String, String)]), room: i64, first: i64) {
    let value = |(name, kind): &(String, String)| match (&**name, &*kind.to_lowercase()) {
        ("room_num", _) => room.to_string(),
        // These are there.
        ("user_num", _) => "value".to_owned(),
        (_, "text") => format!("'t' || (value + {first})"),
        (_, "blob" | "bytea") => format!("CAST('b' || (value + {first}) AS {{bytes}})"),
        (_, "bigint" | "integer") => format!("value + {first}"),
        other => panic!("{table} has a column of an unknown type: {other:?}"),
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| &**name).collect();
    let values: Vec<String> = columns.iter().map(value).collect();
    let text = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {{ints ?1}} AS wanted WHERE value > 0 ON CONFLICT DO NOTHING",
        names.join(", "),
        values.join(", ")
    );
    let insert = statement(format!("fill_{table}_{room}_{first}"), text);
    let numbers: Vec<i64> = (1..=ROWS).collect();
    let work = move |tx: &mut Tx<'_>| tx.execute(insert, &[Value::Ints(&numbers)]);
    let write = Write::new("fill");
    assert!(db.db().write(write, work).await.unwrap() > 0, "{table}");
}

/// How many rows of the room each table has, and of the rooms' events those that don't say whose they are.
async fn count(db: &TestDb, tables: &Tables, room: i64) -> BTreeMap<String, i64> {
    let names = tables.keys().cloned();
    let of_room = names.map(|table| {
        let text = format!("SELECT COUNT(*) FROM {table} WHERE room_num = {room}");
        (
            table.clone(),
            statement(format!("count_{table}_{room}"), text),
        )
    });
    let of_events = OF_EVENTS.into_iter().map(|table| {
        let text = format!("SELECT COUNT(*) FROM {table}");
        (table.to_owned(), statement(format!("count_{table}"), text))
    });
    let all: Vec<(String, &'static Sql)> = of_room.chain(of_events).collect();
    let read = move |tx: &mut Tx<'_>| {
        let mut counted = BTreeMap::new();
        for (table, statement) in all {
            let rows = tx.query_one(statement, &[], |row| row.int(0))?;
            counted.insert(table, rows.unwrap());
        }
        Ok::<_, Error>(counted)
    };
    db.db().read("count", read).await.unwrap()
}

fn store(db: &TestDb) -> Store {
    Store::new(db.db().clone(), 1, CacheSizes::new(1 << 20))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_table_keeps_a_row_of_a_purged_room() {
    on_each_engine(&SCHEMA, |mut db: TestDb| async move {
        let of_rooms = of_rooms(&db).await;
        let all = db.db().read("tables", tables).await.unwrap();
        let column = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let users = [column("user_num", "bigint"), column("user_id", "text")];
        fill(&db, ("users", &users), 0, 0).await;
        for (room, first) in [(ROOM, 10_000), (OTHER, 20_000)] {
            for (table, columns) in of_rooms.iter().filter(|(table, _)| *table != "purges") {
                fill(&db, (table, columns), room, first).await;
            }
            for table in OF_EVENTS {
                fill(&db, (table, &all[table]), room, first).await;
            }
        }
        let others = count(&db, &of_rooms, OTHER).await;
        let purging = store(&db);
        let begin = move |tx: &mut Tx<'_>| purging.purge_begin(tx, RoomNum(ROOM));
        let write = Write::new("purge_begin");
        assert!(db.db().write(write, begin).await.unwrap());
        let mut before = count(&db, &of_rooms, ROOM).await;
        assert_eq!((before["rooms"], before["purges"]), (0, 1));

        let (mut at, mut pieces) = (Some(PURGE_BEGUN), 0);
        while let Some(progress) = at {
            let piece = store(&db).purge_piece(RoomNum(ROOM), progress).await;
            at = match piece.unwrap() {
                PurgeProgress::At(at) => Some(at),
                PurgeProgress::Ended(_) => None,
            };
            let after = count(&db, &of_rooms, ROOM).await;
            let rows = |counted: &BTreeMap<String, i64>| counted.values().sum::<i64>();
            let deleted = rows(&before) - rows(&after);
            assert!(deleted <= 500, "{deleted} rows in one write, {progress:x}");
            before = after;
            pieces += 1;
            if pieces % 20 == 0 {
                // As after a crash: what was done last is done again.
                db.reopen().await;
                at = Some(progress);
            }
        }
        for (table, rows) in &before {
            let expected = if OF_EVENTS.contains(&&**table) {
                ROWS
            } else {
                0
            };
            assert_eq!(*rows, expected, "{table}");
        }
        let mut kept = count(&db, &of_rooms, OTHER).await;
        for table in OF_EVENTS {
            kept.insert(table.to_owned(), 2 * ROWS);
        }
        assert_eq!(kept, others);
    })
    .await;
}
