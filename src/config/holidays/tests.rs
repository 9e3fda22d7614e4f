use super::*;

fn calendar(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{events}END:VCALENDAR\r\n")
}

fn event(lines: &[&str]) -> String {
    let lines = lines.join("\r\n");
    calendar(&format!(
        "BEGIN:VEVENT\r\nUID:1\r\n{lines}\r\nEND:VEVENT\r\n"
    ))
}

fn texts(text: &str, zone: Tz) -> Vec<String> {
    let days = days(text, zone).unwrap_or_else(|mistake| panic!("{mistake:?}\n{text}"));
    days.iter().map(NaiveDate::to_string).collect()
}

/// The holidays of one event within some years.
fn within(lines: &[&str], years: std::ops::RangeInclusive<i32>) -> Vec<String> {
    let all = texts(&event(lines), Tz::UTC);
    let is_wanted = |day: &String| years.contains(&day[..4].parse().unwrap());
    all.into_iter().filter(is_wanted).collect()
}

#[test]
fn events_are_the_days_they_cover() {
    for (lines, expected) in [
        (vec!["DTSTART;VALUE=DATE:20261225"], vec!["2026-12-25"]),
        // DTEND is the day after the last one.
        (
            vec!["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"],
            vec!["2026-12-24", "2026-12-25", "2026-12-26"],
        ),
        (
            vec!["DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261225"],
            vec!["2026-12-25"],
        ),
        (
            vec!["DTSTART;VALUE=DATE:20261224", "DURATION:P2D"],
            vec!["2026-12-24", "2026-12-25"],
        ),
        (
            vec!["DTSTART:20261225T000000Z", "DURATION:PT24H"],
            vec!["2026-12-25"],
        ),
        (
            vec!["DTSTART:20261225T000000", "DTEND:20261226T000000"],
            vec!["2026-12-25"],
        ),
        // A part of a day is no holiday.
        (
            vec!["DTSTART:20261225T100000Z", "DTEND:20261225T110000Z"],
            vec![],
        ),
        (vec!["DTSTART:20261225T100000Z"], vec![]),
        (
            vec!["DTSTART:20261224T120000Z", "DTEND:20261227T120000Z"],
            vec!["2026-12-25", "2026-12-26"],
        ),
        (
            vec!["DTSTART;VALUE=DATE:20261225", "STATUS:CANCELLED"],
            vec![],
        ),
        (
            vec![
                "DTSTART;VALUE=DATE:20261225",
                "RDATE;VALUE=DATE:20270101,20270106",
                "EXDATE;VALUE=DATE:20270106",
            ],
            vec!["2026-12-25", "2027-01-01"],
        ),
    ] {
        assert_eq!(texts(&event(&lines), Tz::UTC), expected, "{lines:?}");
    }
}

#[test]
fn times_with_a_zone_are_put_into_the_calendars() {
    let lines = [
        "DTSTART;TZID=Europe/Berlin:20261225T000000",
        "DTEND;TZID=Europe/Berlin:20261226T000000",
    ];
    let berlin = Tz::Europe__Berlin;
    assert_eq!(texts(&event(&lines), berlin), ["2026-12-25"]);
    // In New York it is part of two days.
    assert_eq!(
        texts(&event(&lines), Tz::America__New_York),
        Vec::<String>::new()
    );
    let utc = ["DTSTART:20261224T230000Z", "DTEND:20261225T230000Z"];
    assert_eq!(texts(&event(&utc), berlin), ["2026-12-25"]);
}

#[test]
fn yearly_rules_as_holidays_have_them() {
    for (rule, start, expected) in [
        (
            "FREQ=YEARLY",
            "20201225",
            vec!["2025-12-25", "2026-12-25", "2027-12-25"],
        ),
        (
            "FREQ=YEARLY;UNTIL=20261231",
            "20201225",
            vec!["2025-12-25", "2026-12-25"],
        ),
        (
            "FREQ=YEARLY;UNTIL=20261225T000000Z",
            "20251225",
            vec!["2025-12-25", "2026-12-25"],
        ),
        (
            "FREQ=YEARLY;COUNT=2",
            "20251225",
            vec!["2025-12-25", "2026-12-25"],
        ),
        (
            "FREQ=YEARLY;INTERVAL=2",
            "20231225",
            vec!["2025-12-25", "2027-12-25"],
        ),
        // Thanksgiving: the fourth Thursday of November.
        (
            "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
            "20201126",
            vec!["2025-11-27", "2026-11-26", "2027-11-25"],
        ),
        // Memorial Day: the last Monday of May.
        (
            "FREQ=YEARLY;BYDAY=-1MO;BYMONTH=5",
            "20200525",
            vec!["2025-05-26", "2026-05-25", "2027-05-31"],
        ),
        // Election day: the Tuesday after the first Monday of November.
        (
            "FREQ=YEARLY;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8;WKST=SU",
            "20201103",
            vec!["2025-11-04", "2026-11-03", "2027-11-02"],
        ),
        (
            "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24,-1",
            "20201224",
            vec![
                "2025-12-24",
                "2025-12-31",
                "2026-12-24",
                "2026-12-31",
                "2027-12-24",
                "2027-12-31",
            ],
        ),
        (
            "freq=yearly;byday=1mo;",
            "20200106",
            vec!["2025-01-06", "2026-01-05", "2027-01-04"],
        ),
    ] {
        let start = format!("DTSTART;VALUE=DATE:{start}");
        let rule = format!("RRULE:{rule}");
        assert_eq!(within(&[&start, &rule], 2025..=2027), expected, "{rule}");
    }
    let leap = ["DTSTART;VALUE=DATE:20240229", "RRULE:FREQ=YEARLY"];
    assert_eq!(
        within(&leap, 2024..=2032),
        ["2024-02-29", "2028-02-29", "2032-02-29"]
    );
    let but = [
        "DTSTART;VALUE=DATE:20241225",
        "RRULE:FREQ=YEARLY",
        "EXDATE;VALUE=DATE:20261225",
    ];
    assert_eq!(within(&but, 2025..=2027), ["2025-12-25", "2027-12-25"]);
}

#[test]
fn a_moved_instance_replaces_its_own() {
    let text = calendar(
        "BEGIN:VEVENT\r\nUID:a\r\nDTSTART;VALUE=DATE:20250501\r\nRRULE:FREQ=YEARLY;COUNT=3\r\nEND:VEVENT\r\n\
         BEGIN:VEVENT\r\nUID:a\r\nRECURRENCE-ID;VALUE=DATE:20260501\r\nDTSTART;VALUE=DATE:20260504\r\nEND:VEVENT\r\n",
    );
    assert_eq!(
        texts(&text, Tz::UTC),
        ["2025-05-01", "2026-05-04", "2027-05-01"]
    );
}

#[test]
fn files_as_programs_write_them() {
    // A byte order mark, plain line ends, folded lines, quoted parameters, escapes, zones and alarms.
    let text = "\u{feff}BEGIN:VCALENDAR\nX-WR-CALNAME:Bank\n\
        BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\nDTSTART:19701025T030000\n\
        RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\n\
        BEGIN:VEVENT\nSUMMARY;ALTREP=\"http://x.example/a;b:c\";LANGUAGE=de:Heiligabend\\, ab mit\n tags; zu\\nEND:VEVENT\n\
        DTSTART;VALUE=DA\n TE:2026\n\t1224\nBEGIN:VALARM\nTRIGGER:-PT1H\nDURATION:nonsense\nEND:VALARM\n\
        TRANSP:TRANSPARENT\nEND:VEVENT\n\nBEGIN:VTODO\nDTSTART:never\nEND:VTODO\nEND:VCALENDAR\n";
    assert_eq!(texts(text, Tz::UTC), ["2026-12-24"]);
    assert!(days(&calendar(""), Tz::UTC).unwrap().is_empty());
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (text, line, says) in [
        (String::new(), 1, "no iCalendar file"),
        ("hello".to_owned(), 1, "NAME:value"),
        (event(&["SUMMARY:x"]), 3, "no DTSTART"),
        (event(&["DTSTART;VALUE=DATE:20260230"]), 5, "not a date"),
        (event(&["DTSTART;VALUE=DATE:tomorrow"]), 5, "not a date"),
        (
            event(&["DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261224"]),
            6,
            "ends before",
        ),
        (
            event(&["DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20991224"]),
            6,
            "an event of",
        ),
        (
            event(&["DTSTART;VALUE=DATE:20261225", "RRULE:FREQ=WEEKLY"]),
            6,
            "only yearly",
        ),
        (
            event(&[
                "DTSTART;VALUE=DATE:20261225",
                "RRULE:FREQ=YEARLY;BYSETPOS=1",
            ]),
            6,
            "BYSETPOS",
        ),
        (
            event(&["DTSTART;VALUE=DATE:20261225", "RRULE:FREQ=YEARLY;BYDAY=4XX"]),
            6,
            "BYDAY=4XX",
        ),
        (
            event(&[
                "DTSTART;VALUE=DATE:20261225",
                "RRULE:FREQ=YEARLY;INTERVAL=0",
            ]),
            6,
            "INTERVAL=0",
        ),
        (
            event(&["DTSTART;TZID=Mars/Base:20261225T000000"]),
            5,
            "Mars/Base",
        ),
        (
            event(&["DTSTART;VALUE=DATE:20261225", "DURATION:1D"]),
            6,
            "duration",
        ),
        (
            "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\n".to_owned(),
            3,
            "ends inside VEVENT",
        ),
        (
            "BEGIN:VCALENDAR\nEND:VEVENT\n".to_owned(),
            2,
            "did not begin",
        ),
    ] {
        let mistake = days(&text, Tz::UTC).expect_err(&text);
        assert!(mistake.message.contains(says), "{text}: {mistake:?}");
        assert_eq!(mistake.line, line, "{text}: {mistake:?}");
        assert!(!mistake.help.is_empty());
    }
}

/// Words of which files are made, rightly or not.
const WORDS: [&str; 30] = [
    "BEGIN:VCALENDAR\n",
    "END:VCALENDAR\n",
    "BEGIN:VEVENT\n",
    "END:VEVENT\n",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "\"",
    "DTSTART",
    "DTEND",
    "DURATION",
    "RRULE",
    "RDATE",
    "EXDATE",
    "RECURRENCE-ID",
    ";VALUE=DATE",
    ";TZID=Europe/Berlin",
    ":20261225",
    ":20261225T000000Z",
    ":P1D",
    ":PT999999H999999H",
    ":FREQ=YEARLY",
    ";BYMONTH=2",
    ";BYDAY=-1SU",
    ";COUNT=3",
    ";UNTIL=2026é",
];

proptest::proptest! {
    #[test]
    fn whatever_the_file_holds_it_is_read_or_refused_at_one_of_its_lines(
        words in proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 0..40),
    ) {
        let text = words.concat();
        for text in [text.clone(), event(&[&text]), calendar(&text)] {
            if let Err(mistake) = days(&text, Tz::Europe__Berlin) {
                let lines = text.split('\n').count();
                proptest::prop_assert!((1..=lines).contains(&mistake.line), "{:?} {:?}", mistake, text);
            }
        }
    }
}
