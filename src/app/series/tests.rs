//! What is read, and how what is wrong is told.

use super::*;

fn read(text: &str) -> Result<Vec<Record>, String> {
    Reader::new(text.as_bytes(), "runs.csv")
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())
}

fn text_id(id: &str) -> Id {
    Id::Text(id.to_owned())
}

fn next(id: &str, at: i64, seconds: f64) -> Record {
    Record::Next(text_id(id), Point { at, seconds })
}

#[test]
fn json_lines_are_series() {
    let lines = "\u{feff}{\"id\":\"a\",\"n\":2,\"t\":[1735689600,1735689660.7],\"v\":[1,2.5],\"events\":[{}]}\r\n\n{\"v\":[],\"id\":7,\"t\":[]}";
    let points = vec![
        Point {
            at: 1_735_689_600,
            seconds: 1.0,
        },
        Point {
            at: 1_735_689_660,
            seconds: 2.5,
        },
    ];
    let expected = vec![
        Record::Whole(text_id("a"), points),
        Record::Whole(Id::Number(7), Vec::new()),
    ];
    assert_eq!(read(lines), Ok(expected));
}

#[test]
fn rows_are_points() {
    let first = 1_773_288_900;
    for (text, id) in [
        ("1773288900,2.5\n1773288900,3\n", "runs"),
        ("t,v\n1773288900,2.5\n1773288900, 3\n", "runs"),
        ("1773288900,2.5,a\n1773288900,3,a", "a"),
        (
            "2026-03-12T04:15:00Z\t2.5\ta\n2026-03-12T05:15:00+01:00\t3\ta",
            "a",
        ),
        (
            "job,status,Time,seconds\r\na,ok,1773288900.4,2.5\r\na,ok,1773288900,3\r\n",
            "a",
        ),
        (
            "\"v\",\"id\",\"t\"\n2.5,\"a, \"\"b\"\"\",1773288900\n3,\"a, \"\"b\"\"\" ,1773288900",
            "a, \"b\"",
        ),
    ] {
        let expected = vec![next(id, first, 2.5), next(id, first, 3.0)];
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    let mixed = vec![next("a", 5, 1.0), next("b", 1, 1.0), next("a", 6, 1.0)];
    assert_eq!(read("5,1,a\n1,1,b\n6,1,a"), Ok(mixed));
}

#[test]
fn nothing_is_no_mistake() {
    for text in ["", "\n \n", "t,v\n"] {
        assert_eq!(read(text), Ok(Vec::new()), "{text:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_a_remedy() {
    let good = "{\"id\":\"a\",\"t\":[1],\"v\":[1]}";
    let again = format!("{good}\n{good}");
    for (text, line, parts) in [
        ("[{\"id\":1}]", 1, ["a list is not read", "jq -c"]),
        (
            "{\"id\":\"a\"}",
            1,
            ["missing field `t`", "{\"id\": \"orders\""],
        ),
        ("{\"id\":\"a\",\"t\":[1],\"v\":[1]", 1, ["EOF", "column 25"]),
        (
            "{\"id\":\"a\",\"t\":[1],\"v\":[NaN]}",
            1,
            ["NaN", "leave such a point out"],
        ),
        (
            "{\"id\":\"a\",\"t\":[1],\"v\":[null]}",
            1,
            [
                "series \"a\", point 0: its value, v, is missing",
                "leave the point out",
            ],
        ),
        (
            "{\"id\":\"a\",\"t\":[null],\"v\":[1]}",
            1,
            ["its time, t, is missing", "leave"],
        ),
        (
            "{\"id\":\"a\",\"t\":[1],\"v\":[-1]}",
            1,
            ["-1 is no duration", "0 or more"],
        ),
        (
            "{\"id\":\"a\",\"t\":[1,2],\"v\":[1]}",
            1,
            ["2 times and 1 values", "leave out both"],
        ),
        (
            "{\"id\":\"a\",\"t\":[1,2,1],\"v\":[1,1,1]}",
            1,
            ["series \"a\", point 2: its time, 1, is before", "sort"],
        ),
        (
            "{\"id\":\"a\",\"t\":[1735689600000],\"v\":[1]}",
            1,
            ["milliseconds", "divide by 1000"],
        ),
        (&again, 2, ["\"a\" was on line 1 already", "join"]),
        ("t,v\n1,1\n2,nan", 3, ["point 1", "NaN is no duration"]),
        (
            "1,1\n2,inf",
            2,
            ["series \"runs\", point 1", "inf is no duration"],
        ),
        ("1,1\n2,", 2, ["its value is missing", "leave"]),
        ("1,1\n,2", 2, ["its time is missing", "leave"]),
        (
            "1,1\n2,x",
            2,
            ["\"x\" is no duration", "seconds are wanted"],
        ),
        ("1,1\n2026-03-12 04:15,1", 2, ["no time", "RFC 3339"]),
        ("1,1\n1e999,1", 2, ["milliseconds", "divide"]),
        ("2,1,a\n3,1,b\n1,1,a", 3, ["series \"a\", point 1", "sort"]),
        ("2,1,a\n3,1", 2, ["2 columns, 3 are wanted", "t,v,id"]),
        ("7", 1, ["1 columns, 2 are wanted", "comma or a tab"]),
        (
            "when,seconds\n1,1",
            1,
            ["no column `t`", "name the columns"],
        ),
        ("time,took\n1,1", 1, ["no column `v`", "name the columns"]),
        ("t,v,id\n1,1,\"a", 2, ["quote is not closed", "doubled"]),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.starts_with(&format!("runs.csv:{line}: ")), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
    let bytes: &[u8] = b"1,1\n\xff\xfe,1\n";
    let last = Reader::new(bytes, "x").last().unwrap().unwrap_err();
    assert!(
        last.to_string().starts_with("x:2: this is not UTF-8"),
        "{last}"
    );
}

#[test]
fn a_line_without_an_end_is_refused() {
    let endless = std::io::BufReader::new(std::io::repeat(b'1'));
    let mut reader = Reader::new(endless, "x");
    let error = reader.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("longer than 64 MiB"), "{error}");
    assert!(reader.next().is_none(), "nothing comes after an error");
}
