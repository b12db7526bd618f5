//! Parameters and columns: what goes in comes out, lists, and what is refused.

use starling_db::{Db, Error, Row, Sql, Tx, Value, Write};
use starling_testkit::on_each_engine;

use crate::schema::{
    Answer, NUMBERED_ADD, PAIR_ADD, PAIR_ADD_DATA, PAIR_ROW, PAIR_SET, PAIRS_ADD, PAIRS_BY_DATA,
    PAIRS_BY_IDS, PAIRS_BY_NAMES, SCHEMA, pair_ids,
};

type Read = fn(&dyn Row) -> Answer<()>;
type Pair = (i64, String, Option<Vec<u8>>);

async fn add(db: &Db, pair: Pair) -> Answer<()> {
    let body = move |tx: &mut Tx<'_>| {
        let data = pair.2.as_deref().map_or(Value::Null, Value::Bytes);
        tx.execute_one(
            &PAIR_ADD_DATA,
            &[pair.0.into(), pair.1.as_str().into(), data],
        )
    };
    db.write(Write::new("add"), body).await
}

fn pair(row: &dyn Row) -> Answer<Pair> {
    Ok((
        row.int(0)?,
        row.text(1)?.to_owned(),
        row.opt_bytes(2)?.map(<[u8]>::to_vec),
    ))
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    on_each_engine(&SCHEMA, |test| async move {
        let pairs: Vec<Pair> = vec![
            (i64::MIN, String::new(), None),
            (0, "ünïcödé \u{1F426}".to_owned(), Some(Vec::new())),
            (i64::MAX, "zero".to_owned(), Some(b"a\0b\xff".to_vec())),
        ];
        for wanted in pairs {
            add(test.db(), wanted.clone()).await.unwrap();
            let id = wanted.0;
            let found = test
                .db()
                .read("row", move |tx| tx.query_one(&PAIR_ROW, &[id.into()], pair));
            assert_eq!(found.await.unwrap(), Some(wanted));
        }
        let missing = test
            .db()
            .read("row", |tx| tx.query_one(&PAIR_ROW, &[77.into()], pair))
            .await;
        assert_eq!(missing.unwrap(), None);
    })
    .await;
}

type List = fn() -> Value<'static>;

async fn find(db: &Db, sql: &'static Sql, list: List) -> Vec<i64> {
    db.read("find", move |tx| {
        tx.query_all(sql, &[list()], |row| row.int(0))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn lists_select_their_members_and_empty_ones_nothing() {
    on_each_engine(&SCHEMA, |test| async move {
        for id in 1..=4_u8 {
            add(
                test.db(),
                (id.into(), format!("name {id}"), Some(vec![0, id])),
            )
            .await
            .unwrap();
        }
        assert_eq!(
            find(test.db(), &PAIRS_BY_IDS, || Value::Ints(&[4, 2, 2, 9])).await,
            [2, 4]
        );
        assert_eq!(
            find(test.db(), &PAIRS_BY_NAMES, || Value::Texts(&[
                "name 3", "", "name 1"
            ]))
            .await,
            [1, 3]
        );
        assert_eq!(
            find(test.db(), &PAIRS_BY_DATA, || Value::Blobs(&[
                &[0, 1],
                &[0],
                &[0, 4]
            ]))
            .await,
            [1, 4]
        );
        let none: [i64; 0] = [];
        assert_eq!(
            find(test.db(), &PAIRS_BY_IDS, || Value::Ints(&[])).await,
            none
        );
        assert_eq!(
            find(test.db(), &PAIRS_BY_NAMES, || Value::Texts(&[])).await,
            none
        );
        assert_eq!(
            find(test.db(), &PAIRS_BY_DATA, || Value::Blobs(&[])).await,
            none
        );
    })
    .await;
}

#[tokio::test]
async fn lists_beside_each_other_are_rows() {
    on_each_engine(&SCHEMA, |test| async move {
        let wanted: Vec<Pair> = (0_i64..700)
            .map(|id: i64| {
                (
                    id,
                    format!("name {}", 700 - id),
                    Some(id.to_be_bytes().to_vec()),
                )
            })
            .collect();
        let pairs = wanted.clone();
        let body = move |tx: &mut Tx<'_>| {
            let ids: Vec<i64> = pairs.iter().map(|it| it.0).collect();
            let names: Vec<&str> = pairs.iter().map(|it| it.1.as_str()).collect();
            let data: Vec<&[u8]> = pairs.iter().filter_map(|it| it.2.as_deref()).collect();
            let lists = [Value::Ints(&ids), Value::Texts(&names), Value::Blobs(&data)];
            let added = tx.execute(&PAIRS_ADD, &lists)?;
            let none = [Value::Ints(&[]), Value::Texts(&[]), Value::Blobs(&[])];
            Ok::<_, Error>((added, tx.execute(&PAIRS_ADD, &none)?))
        };
        let added = test.db().write(Write::new("add"), body).await;
        assert_eq!(added.unwrap(), (700, 0));
        for wanted in [&wanted[0], &wanted[350], &wanted[699]] {
            let id = wanted.0;
            let found = test
                .db()
                .read("row", move |tx| tx.query_one(&PAIR_ROW, &[id.into()], pair));
            assert_eq!(found.await.unwrap().as_ref(), Some(wanted));
        }
    })
    .await;
}

#[tokio::test]
async fn a_column_of_another_type_is_an_error_not_a_guess() {
    on_each_engine(&SCHEMA, |test| async move {
        add(test.db(), (1, "one".to_owned(), None)).await.unwrap();
        let wrong: [(Read, usize, &str); 8] = [
            (|row| row.int(1).map(drop), 1, "an integer"),
            (|row| row.int(2).map(drop), 2, "an integer"),
            (|row| row.int(9).map(drop), 9, "an integer"),
            (|row| row.truth(1).map(drop), 1, "an integer"),
            (|row| row.text(0).map(drop), 0, "a text"),
            (|row| row.bytes(1).map(drop), 1, "bytes"),
            (|row| row.bytes(2).map(drop), 2, "bytes"),
            (|row| row.text(9).map(drop), 9, "a text"),
        ];
        for (read, at, what) in wrong {
            let read = test
                .db()
                .read("wrong", move |tx| {
                    tx.query_one(&PAIR_ROW, &[1.into()], read)
                })
                .await;
            let Err(Error::Column {
                statement,
                column,
                wanted,
            }) = read
            else {
                panic!("column {at}: {read:?}")
            };
            assert_eq!((statement, column, wanted), (PAIR_ROW.name(), at, what));
        }
    })
    .await;
}

#[tokio::test]
async fn the_number_of_parameters_must_agree() {
    on_each_engine(&SCHEMA, |test| async move {
        for params in [
            &[Value::Int(1)] as &[_],
            &[Value::Int(1), Value::Text("a"), Value::Null],
        ] {
            let write = test.db().write(Write::new("params"), move |tx| {
                tx.execute(&PAIR_ADD, params).map(drop)
            });
            assert!(matches!(write.await, Err(Error::Statement { .. })));
            let read = test.db().read("params", move |tx| {
                tx.query_one(&PAIRS_BY_IDS, params, |row| row.int(0))
            });
            assert!(params.len() == 1 || matches!(read.await, Err(Error::Statement { .. })));
        }
        assert_eq!(pair_ids(test.db()).await, Vec::<i64>::new());
    })
    .await;
}

#[tokio::test]
async fn upserts_and_generated_numbers_are_the_same_everywhere() {
    on_each_engine(&SCHEMA, |test| async move {
        let body = |tx: &mut Tx<'_>| {
            let inserted = tx.execute(&PAIR_SET, &[1.into(), "a".into()])?;
            let updated = tx.execute(&PAIR_SET, &[1.into(), "b".into()])?;
            let mut numbers = Vec::new();
            for name in ["x", "y", "x"] {
                numbers
                    .push(tx.execute_returning(&NUMBERED_ADD, &[name.into()], |row| row.int(0))?);
            }
            Ok::<_, Error>((inserted, updated, numbers))
        };
        let (inserted, updated, numbers) =
            test.db().write(Write::new("upsert"), body).await.unwrap();
        assert_eq!((inserted, updated), (1, 1));
        assert_eq!(numbers, [Some(1), Some(2), None]);
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_must_change_one_row_says_so() {
    on_each_engine(&SCHEMA, |test| async move {
        let rename =
            |tx: &mut Tx<'_>| tx.execute_one(&crate::schema::PAIR_RENAME, &[1.into(), "a".into()]);
        let renamed = test.db().write(Write::new("rename"), rename).await;
        assert!(matches!(renamed, Err(Error::Damaged(_))), "{renamed:?}");
    })
    .await;
}
