//! Packed history: observations of one project and one day, in one record.
//!
//! Observations are appended as they come, in segments of at most [`MAX_ROWS`] rows; the newest
//! observation of an id wins when they are read back. Texts are shared within a segment and instants
//! are written as distances from the day's start, so that a run takes some 70 bytes.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::engine::observation::{Execution, Name, Observation, Plan, ProjectKey, Run, Status};
use crate::engine::time::Timestamp;

/// Version byte of packed segments.
const PACKED_VERSION: u8 = 1;

/// Version byte of packed segments that are followed by row counts.
const COUNTED_VERSION: u8 = 2;

/// Rows in one segment: keeps a record near 8 KiB.
const MAX_ROWS: usize = 96;

/// Milliseconds in a day.
pub(super) const DAY_MILLIS: i64 = 86_400_000;

/// Observations of one project that belong to one day.
#[derive(Debug)]
pub(super) struct Segment {
    /// The project.
    pub(super) project: ProjectKey,
    /// Days since 1970-01-01, of the observations' start.
    pub(super) day: u32,
    packed: Packed,
    row_counts: RowCounts,
}

/// Row counts of executions, by their place in the segment. Only the executions that have one.
type RowCounts = Vec<(u32, i64)>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Packed {
    source: String,
    project_id: String,
    day: u32,
    texts: Vec<String>,
    runs: Vec<PackedRun>,
    executions: Vec<PackedExecution>,
    plans: Vec<Plan>,
}

/// Index into the texts.
type Text = u32;

#[derive(Debug, Serialize, Deserialize)]
struct PackedRun {
    id: String,
    job: Option<Text>,
    job_type: Text,
    status: Text,
    triggered_by: Text,
    created: i64,
    started: Option<i64>,
    finished: Option<i64>,
    updated: i64,
    error: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedExecution {
    id: String,
    run_id: Option<Text>,
    model: Text,
    status: Text,
    started: Option<i64>,
    finished: Option<i64>,
    updated: i64,
    error: Option<Text>,
}

/// Kind and id of an observation, and how new it is.
pub(super) fn identity(observation: &Observation) -> ((u8, Name), Timestamp) {
    match observation {
        Observation::Run(_, run) => ((0, run.id.clone()), run.updated_at),
        Observation::Execution(_, execution) => ((1, execution.id.clone()), execution.updated_at),
        Observation::Plan(_, plan) => ((2, plan.id.clone()), plan.updated_at),
        Observation::Project(project) => ((3, project.key.project_id.clone()), Timestamp::MIN),
        Observation::ProjectGone(project) => ((6, project.project_id.clone()), Timestamp::MIN),
        Observation::Jobs(project, _) => ((4, project.project_id.clone()), Timestamp::MIN),
        Observation::Protections(source, _) => ((5, source.clone()), Timestamp::MIN),
        Observation::Averages(project, _) => ((7, project.project_id.clone()), Timestamp::MIN),
    }
}

fn day_of(observation: &Observation) -> u32 {
    let at = match observation {
        Observation::Run(_, run) => run.created_at,
        Observation::Execution(_, execution) => {
            execution.started_at.unwrap_or(execution.updated_at)
        }
        Observation::Plan(_, plan) => plan.created_at,
        Observation::Project(_)
        | Observation::ProjectGone(_)
        | Observation::Jobs(..)
        | Observation::Protections(..)
        | Observation::Averages(..) => Timestamp::MIN,
    };
    u32::try_from(at.as_millis().div_euclid(DAY_MILLIS)).unwrap_or(0)
}

/// Packs observations into segments by project and day. Projects, jobs and averages are not packed: they
/// have records of their own.
pub(super) fn pack(observations: &[Observation]) -> Vec<Segment> {
    let mut by_day: BTreeMap<(ProjectKey, u32), Vec<&Observation>> = BTreeMap::new();
    for observation in observations {
        let is_packed = matches!(
            observation,
            Observation::Run(..) | Observation::Execution(..) | Observation::Plan(..)
        );
        if let Some(project) = observation.project().filter(|_| is_packed) {
            let key = (project, day_of(observation));
            by_day.entry(key).or_default().push(observation);
        }
    }
    let mut segments = Vec::new();
    for ((project, day), rows) in by_day {
        for chunk in rows.chunks(MAX_ROWS) {
            let (packed, row_counts) = Packer::new(&project, day).pack(chunk);
            segments.push(Segment {
                project: project.clone(),
                day,
                packed,
                row_counts,
            });
        }
    }
    segments
}

struct Packer<'a> {
    packed: Packed,
    row_counts: RowCounts,
    known: HashMap<&'a str, Text>,
    base: i64,
}

impl<'a> Packer<'a> {
    fn new(project: &ProjectKey, day: u32) -> Self {
        Self {
            packed: Packed {
                source: project.source.to_string(),
                project_id: project.project_id.to_string(),
                day,
                ..Packed::default()
            },
            row_counts: RowCounts::new(),
            known: HashMap::new(),
            base: i64::from(day) * DAY_MILLIS,
        }
    }

    fn pack(mut self, rows: &[&'a Observation]) -> (Packed, RowCounts) {
        for row in rows {
            match row {
                Observation::Run(_, run) => self.run(run),
                Observation::Execution(_, execution) => self.execution(execution),
                Observation::Plan(_, plan) => self.packed.plans.push(plan.clone()),
                Observation::Project(_)
                | Observation::ProjectGone(_)
                | Observation::Jobs(..)
                | Observation::Protections(..)
                | Observation::Averages(..) => {}
            }
        }
        (self.packed, self.row_counts)
    }

    fn text(&mut self, text: &'a str) -> Text {
        *self.known.entry(text).or_insert_with(|| {
            self.packed.texts.push(text.to_owned());
            Text::try_from(self.packed.texts.len() - 1).unwrap_or(Text::MAX)
        })
    }

    fn at(&self, at: Timestamp) -> i64 {
        at.as_millis() - self.base
    }

    fn run(&mut self, run: &'a Run) {
        let packed = PackedRun {
            id: run.id.to_string(),
            job: run.job.as_deref().map(|job| self.text(job)),
            job_type: self.text(&run.job_type),
            status: self.text(run.status.as_str()),
            triggered_by: self.text(&run.triggered_by),
            created: self.at(run.created_at),
            started: run.started_at.map(|at| self.at(at)),
            finished: run.finished_at.map(|at| self.at(at)),
            updated: self.at(run.updated_at),
            error: run.error.as_deref().map(|error| self.text(error)),
        };
        self.packed.runs.push(packed);
    }

    fn execution(&mut self, execution: &'a Execution) {
        let packed = PackedExecution {
            id: execution.id.to_string(),
            run_id: execution.run_id.as_deref().map(|id| self.text(id)),
            model: self.text(&execution.model),
            status: self.text(execution.status.as_str()),
            started: execution.started_at.map(|at| self.at(at)),
            finished: execution.finished_at.map(|at| self.at(at)),
            updated: self.at(execution.updated_at),
            error: execution.error.as_deref().map(|error| self.text(error)),
        };
        if let Some(rows) = execution.rows {
            let place = u32::try_from(self.packed.executions.len()).unwrap_or(u32::MAX);
            self.row_counts.push((place, rows));
        }
        self.packed.executions.push(packed);
    }
}

impl Segment {
    /// As stored.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let version = if self.row_counts.is_empty() {
            PACKED_VERSION
        } else {
            COUNTED_VERSION
        };
        // Serialising our own types to memory cannot fail.
        let bytes = postcard::to_extend(&self.packed, vec![version])
            .expect("own segments are always encodable");
        if self.row_counts.is_empty() {
            return bytes;
        }
        postcard::to_extend(&self.row_counts, bytes).expect("own segments are always encodable")
    }

    /// Reads back observations. The error says what is wrong.
    pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<Observation>, String> {
        let (packed, row_counts): (Packed, RowCounts) = match bytes.split_first() {
            Some((&PACKED_VERSION, rest)) => {
                let packed = postcard::from_bytes(rest).map_err(|error| error.to_string())?;
                (packed, RowCounts::new())
            }
            Some((&COUNTED_VERSION, rest)) => {
                let (packed, rest) =
                    postcard::take_from_bytes(rest).map_err(|error| error.to_string())?;
                let counts = postcard::from_bytes(rest).map_err(|error| error.to_string())?;
                (packed, counts)
            }
            Some((version, _)) => return Err(format!("unknown segment version {version}")),
            None => return Err("empty".into()),
        };
        let project = ProjectKey {
            source: packed.source.into(),
            project_id: packed.project_id.into(),
        };
        let texts: Vec<Name> = packed
            .texts
            .iter()
            .map(|text| text.as_str().into())
            .collect();
        let reader = Reader {
            texts: &texts,
            base: i64::from(packed.day) * DAY_MILLIS,
        };
        let mut observations = Vec::with_capacity(packed.runs.len() + packed.executions.len());
        for run in packed.runs {
            observations.push(Observation::Run(project.clone(), reader.run(run)?));
        }
        let row_counts: HashMap<u32, i64> = row_counts.into_iter().collect();
        for (place, execution) in (0..).zip(packed.executions) {
            observations.push(Observation::Execution(
                project.clone(),
                Execution {
                    rows: row_counts.get(&place).copied(),
                    ..reader.execution(execution)?
                },
            ));
        }
        observations.extend(
            packed
                .plans
                .into_iter()
                .map(|plan| Observation::Plan(project.clone(), plan)),
        );
        Ok(observations)
    }
}

struct Reader<'a> {
    texts: &'a [Name],
    base: i64,
}

impl Reader<'_> {
    fn text(&self, index: Text) -> Result<Name, String> {
        self.texts
            .get(index as usize)
            .cloned()
            .ok_or_else(|| format!("no text {index}"))
    }

    fn optional(&self, index: Option<Text>) -> Result<Option<Name>, String> {
        index.map(|index| self.text(index)).transpose()
    }

    fn at(&self, offset: i64) -> Timestamp {
        Timestamp::from_millis(self.base.saturating_add(offset))
    }

    fn run(&self, run: PackedRun) -> Result<Run, String> {
        Ok(Run {
            id: run.id.into(),
            job: self.optional(run.job)?,
            job_type: self.text(run.job_type)?,
            status: Status::from_word(&self.text(run.status)?),
            triggered_by: self.text(run.triggered_by)?,
            created_at: self.at(run.created),
            started_at: run.started.map(|offset| self.at(offset)),
            finished_at: run.finished.map(|offset| self.at(offset)),
            updated_at: self.at(run.updated),
            error: self.optional(run.error)?,
        })
    }

    fn execution(&self, execution: PackedExecution) -> Result<Execution, String> {
        Ok(Execution {
            id: execution.id.into(),
            run_id: self.optional(execution.run_id)?,
            model: self.text(execution.model)?,
            status: Status::from_word(&self.text(execution.status)?),
            started_at: execution.started.map(|offset| self.at(offset)),
            finished_at: execution.finished.map(|offset| self.at(offset)),
            updated_at: self.at(execution.updated),
            rows: None,
            error: self.optional(execution.error)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::time::Span;

    fn run(id: &str, created: &str, error: Option<&str>) -> Observation {
        let created_at = Timestamp::parse(created).unwrap();
        Observation::Run(
            ProjectKey {
                source: "acme".into(),
                project_id: "proj_1".into(),
            },
            Run {
                id: id.into(),
                job: Some("hourly-orders".into()),
                job_type: "run".into(),
                status: Status::from_word(if error.is_some() { "failed" } else { "success" }),
                triggered_by: "scheduled".into(),
                created_at,
                started_at: Some(created_at + Span::seconds(3)),
                finished_at: Some(created_at + Span::minutes(9)),
                updated_at: created_at + Span::minutes(9),
                error: error.map(Into::into),
            },
        )
    }

    #[test]
    fn segments_read_back_what_was_packed() {
        let rows = [
            run("run_1", "2026-11-23T23:59:59.5Z", None),
            run("run_2", "2026-11-24T00:00:00Z", Some("audit failed")),
            run("run_3", "2026-11-24T01:00:00Z", None),
        ];
        let segments = pack(&rows);
        assert_eq!(segments.len(), 2, "one for each day");
        let back: Vec<Observation> = segments
            .iter()
            .flat_map(|segment| Segment::unpack(&segment.to_bytes()).unwrap())
            .collect();
        assert_eq!(back, rows);
    }

    fn execution(id: &str, rows: Option<i64>) -> Observation {
        let started_at = Timestamp::parse("2026-11-24T03:00:00Z").unwrap();
        Observation::Execution(
            ProjectKey {
                source: "acme".into(),
                project_id: "proj_1".into(),
            },
            Execution {
                id: id.into(),
                run_id: Some("run_1".into()),
                model: "marts.orders".into(),
                status: Status::Success,
                started_at: Some(started_at),
                finished_at: Some(started_at + Span::minutes(1)),
                updated_at: started_at + Span::minutes(1),
                rows,
                error: None,
            },
        )
    }

    #[test]
    fn row_counts_are_read_back_and_cost_nothing_where_there_are_none() {
        let back = |rows: &[Observation]| {
            let bytes = pack(rows)[0].to_bytes();
            (bytes[0], Segment::unpack(&bytes).unwrap())
        };
        let counted = [
            execution("a", Some(12_400)),
            execution("b", None),
            execution("c", Some(-1)),
            execution("d", Some(i64::MAX)),
        ];
        assert_eq!(back(&counted), (COUNTED_VERSION, counted.to_vec()));
        let plain = [execution("a", None), execution("b", None)];
        assert_eq!(back(&plain), (PACKED_VERSION, plain.to_vec()));
    }

    #[test]
    fn a_segment_from_before_row_counts_is_read() {
        // Put together by hand after postcard's specification, as the first version wrote it.
        let old = b"\x01\x04acme\x06proj_1\xad\xa2\x01\x03\x05run_1\x0cmarts.orders\x07success\x00\x01\x05mex_1\x01\x00\x01\x02\x01\x80\xae\xa6\x0a\x01\xc0\xd7\xad\x0a\xc0\xd7\xad\x0a\x00\x00";
        assert_eq!(Segment::unpack(old).unwrap(), [execution("mex_1", None)]);
    }

    #[test]
    fn a_run_takes_few_bytes() {
        let rows: Vec<Observation> = (0..24)
            .map(|hour| {
                run(
                    &format!("run_{hour:04}"),
                    &format!("2026-11-24T{hour:02}:00:00Z"),
                    None,
                )
            })
            .collect();
        let bytes = pack(&rows)[0].to_bytes().len();
        assert!(bytes < 24 * 40, "{bytes} bytes for 24 runs");
    }

    #[test]
    fn a_damaged_segment_is_refused() {
        assert!(Segment::unpack(&[]).is_err());
        assert!(
            Segment::unpack(&[9, 1, 2])
                .unwrap_err()
                .contains("version 9")
        );
        let bytes = pack(&[run("run_1", "2026-11-24T00:00:00Z", None)])[0].to_bytes();
        assert!(Segment::unpack(&bytes[..bytes.len() / 2]).is_err());
    }

    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Name> {
        proptest::string::string_regex("(?s).{0,12}")
            .unwrap()
            .prop_map(Name::from)
    }

    fn instant() -> impl Strategy<Value = Timestamp> {
        // From before 1970 to after 2100, and often within the same days.
        prop_oneof![
            -1_000_000_000_000..5_000_000_000_000_i64,
            0..200_000_000_i64
        ]
        .prop_map(Timestamp::from_millis)
    }

    prop_compose! {
        fn any_run()(
            id in text(),
            job in proptest::option::of(text()),
            words in (text(), text(), text()),
            created_at in instant(),
            started_at in proptest::option::of(instant()),
            finished_at in proptest::option::of(instant()),
            updated_at in instant(),
            error in proptest::option::of(text()),
        ) -> Observation {
            let project = ProjectKey { source: "acme".into(), project_id: "p".into() };
            Observation::Run(project, Run {
                id,
                job,
                job_type: words.0,
                status: Status::from_word(&words.1),
                triggered_by: words.2,
                created_at,
                started_at,
                finished_at,
                updated_at,
                error,
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_packed_is_read_back(rows in proptest::collection::vec(any_run(), 0..300)) {
            let mut back = Vec::new();
            for segment in pack(&rows) {
                back.extend(Segment::unpack(&segment.to_bytes()).unwrap());
            }
            let sorted = |rows: &[Observation]| {
                let mut texts: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
                texts.sort();
                texts
            };
            prop_assert_eq!(sorted(&back), sorted(&rows));
        }

        #[test]
        fn damage_is_an_error_and_never_a_panic(
            rows in proptest::collection::vec(any_run(), 1..20),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = pack(&rows)[0].to_bytes();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            let _ = Segment::unpack(&bytes);
            let _ = Segment::unpack(&bytes[..place]);
        }
    }
}
