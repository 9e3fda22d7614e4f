//! Switches for everything about the API that is inferred or unknown.
//!
//! Variant 0 is what is documented, and the likeliest guess where nothing is. The others combine
//! other guesses, so that each switch is seen in at least two states.

/// Whether absent values are left out or written as `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// Left out: documented.
    Omitted,
    /// Written as `null`.
    Explicit,
}

/// The order of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newest `created_at` first.
    NewestFirst,
    /// Oldest `created_at` first.
    OldestFirst,
    /// By id as text.
    ById,
}

/// The body of an error answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// `{"error": "text"}`
    Error,
    /// `{"message": "text"}`
    Message,
    /// `{"error": {"message": "text"}}`
    Nested,
    /// Plain text.
    Text,
}

/// What happens to a `limit` above 500.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRule {
    /// Cut to 500, and the answer says 500.
    Clamped,
    /// Cut to 500, but the answer repeats what was asked.
    Echoed,
    /// Refused with 400.
    Refused,
}

/// How instants are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstantStyle {
    /// `2026-03-12T06:00:00Z`, milliseconds only when there are some.
    Zulu,
    /// `2026-03-12T06:00:00.000000Z`
    Micros,
    /// `2026-03-12T06:00:00+00:00`
    Offset,
}

/// How per-day and per-model aggregates are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregates {
    /// `{"stats": [...]}` with `date` and `avg_duration_seconds`.
    Stats,
    /// `{"daily_stats": [...]}` (or `data`) with `day` and `avg_success_duration`.
    Named,
    /// A bare array with `run_date` and `avg_duration`.
    Bare,
}

/// How the log of a run is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logs {
    /// As `text/plain`.
    Text,
    /// As `{"logs": "..."}`.
    Json,
    /// Not at all: 404. The run detail is missing then, too.
    Missing,
}

/// One combination of shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with its meaning"
)]
pub struct Variant {
    /// Its number.
    pub number: u32,
    /// List key of `/model-executions`; `None`: the endpoint is missing (404).
    pub executions_key: Option<&'static str>,
    /// `/runs` may be read; otherwise 403. The run detail is missing then, too.
    pub runs_allowed: bool,
    /// `/model-executions/stats` is served, also where the executions are not.
    pub stats_served: bool,
    /// `end_date` is part of the period.
    pub end_date_included: bool,
    /// Field of a model execution that names its run.
    pub execution_run_field: &'static str,
    /// Field of a model execution that names its model.
    pub execution_model_field: &'static str,
    /// Field of a model execution that counts its rows; `None`: there is none.
    pub execution_rows_field: Option<&'static str>,
    /// Pending runs already carry a `start_time` (their creation).
    pub pending_has_start: bool,
    /// How absent values are written.
    pub nulls: Nulls,
    /// What stands before the job's name in `cronjob_name`.
    pub cronjob_prefix: &'static str,
    /// Order of lists.
    pub order: Order,
    /// Body of error answers.
    pub error_body: ErrorBody,
    /// What a too large `limit` does.
    pub limit_rule: LimitRule,
    /// The `approved` status of plans is shown; otherwise such a plan is `running`.
    pub plan_shows_approved: bool,
    /// `/projects` and `/jobs` are bare arrays.
    pub bare_lists: bool,
    /// Runs in lists carry `error_message`; otherwise only the run detail does.
    pub list_has_error: bool,
    /// Status for another organization's id: 403 or 404.
    pub foreign_status: u16,
    /// How instants are written.
    pub instants: InstantStyle,
    /// How aggregates are wrapped.
    pub aggregates: Aggregates,
    /// Key of `/plans/pending`.
    pub pending_key: &'static str,
    /// How logs are served.
    pub logs: Logs,
    /// `stats` follows the filters of the query.
    pub stats_follow_filters: bool,
    /// `total_pages` of an empty list: 0 or 1.
    pub empty_total_pages: usize,
    /// An unreadable `updated_after` is refused with 400; otherwise ignored.
    pub refuses_bad_instants: bool,
    /// `/environment-protections` may be read; otherwise 403.
    pub protections_allowed: bool,
    /// List key of `/environment-protections`; `None`: the endpoint is missing (404).
    pub protections_key: Option<&'static str>,
}

const DOCUMENTED: Variant = Variant {
    number: 0,
    executions_key: Some("model_executions"),
    runs_allowed: true,
    stats_served: true,
    end_date_included: true,
    execution_run_field: "job_run_id",
    execution_model_field: "model_name",
    execution_rows_field: None,
    pending_has_start: false,
    nulls: Nulls::Omitted,
    cronjob_prefix: "",
    order: Order::NewestFirst,
    error_body: ErrorBody::Error,
    limit_rule: LimitRule::Clamped,
    plan_shows_approved: true,
    bare_lists: false,
    list_has_error: true,
    foreign_status: 404,
    instants: InstantStyle::Zulu,
    aggregates: Aggregates::Stats,
    pending_key: "count",
    logs: Logs::Text,
    stats_follow_filters: true,
    empty_total_pages: 0,
    refuses_bad_instants: true,
    protections_allowed: true,
    protections_key: Some("protections"),
};

const DESCRIPTIONS: [&str; 10] = [
    "as documented, with the likeliest guesses",
    "executions under `executions` with run_id, model and rows_affected; oldest first; errors as message; pending runs have a start; microseconds; protections under `environment_protections`",
    "executions under `data` with name and row_count; explicit nulls; lists by id; nested errors; limit echoed; offsets for Z",
    "no model-executions or their stats, run detail, logs or protections; prefixed cronjob_name; plain-text errors; 403 for foreign organizations",
    "bare arrays; no error_message in lists; approved plans shown as running; oldest first",
    "prefixed cronjob_name, explicit nulls, no error_message in lists, by id, limits above 500 refused",
    "stats ignore filters, aggregates named otherwise, unreadable instants ignored, protections forbidden",
    "everything unlikely at once, model-executions included",
    "aggregates only: no model-executions, runs forbidden; model-executions/stats and runs/daily-stats are served",
    "aggregates of models only: no model-executions, aggregates in bare arrays, end_date excluded",
];

impl Variant {
    /// The variant of that number; numbers start again at 0 after [`Variant::count`].
    pub fn number(number: u32) -> Self {
        let number = number % Self::count();
        let base = Self {
            number,
            ..DOCUMENTED
        };
        match number {
            1 => base.early_starts(),
            2 => base.explicit_nulls(),
            3 => base.missing_endpoints(),
            4 => base.bare(),
            5 => Self {
                limit_rule: LimitRule::Refused,
                cronjob_prefix: "acme-",
                order: Order::ById,
                nulls: Nulls::Explicit,
                list_has_error: false,
                ..base
            },
            6 => base.other_aggregates(),
            7 => Self {
                number,
                cronjob_prefix: "acme-",
                ..base
                    .early_starts()
                    .bare()
                    .explicit_nulls()
                    .other_aggregates()
            },
            8 => Self {
                executions_key: None,
                runs_allowed: false,
                ..base
            },
            9 => Self {
                executions_key: None,
                end_date_included: false,
                aggregates: Aggregates::Bare,
                ..base
            },
            _ => base,
        }
    }

    /// How many variants there are.
    pub fn count() -> u32 {
        u32::try_from(DESCRIPTIONS.len()).unwrap_or(u32::MAX)
    }

    /// All variants that tell everything about runs.
    pub fn with_runs() -> impl Iterator<Item = Self> {
        let all = (0..Self::count()).map(Self::number);
        all.filter(|variant| variant.runs_allowed)
    }

    /// What is special about this variant, in one line.
    pub fn describe(&self) -> &'static str {
        usize::try_from(self.number)
            .ok()
            .and_then(|n| DESCRIPTIONS.get(n))
            .copied()
            .unwrap_or("custom")
    }

    fn early_starts(self) -> Self {
        Self {
            executions_key: Some("executions"),
            execution_run_field: "run_id",
            execution_model_field: "model",
            execution_rows_field: Some("rows_affected"),
            pending_has_start: true,
            order: Order::OldestFirst,
            error_body: ErrorBody::Message,
            instants: InstantStyle::Micros,
            empty_total_pages: 1,
            protections_key: Some("environment_protections"),
            ..self
        }
    }

    fn explicit_nulls(self) -> Self {
        Self {
            executions_key: Some("data"),
            execution_run_field: "run_id",
            execution_model_field: "name",
            execution_rows_field: Some("row_count"),
            nulls: Nulls::Explicit,
            order: Order::ById,
            error_body: ErrorBody::Nested,
            limit_rule: LimitRule::Echoed,
            instants: InstantStyle::Offset,
            logs: Logs::Json,
            pending_key: "pending_count",
            ..self
        }
    }

    fn missing_endpoints(self) -> Self {
        Self {
            executions_key: None,
            stats_served: false,
            cronjob_prefix: "acme-",
            error_body: ErrorBody::Text,
            foreign_status: 403,
            logs: Logs::Missing,
            protections_key: None,
            ..self
        }
    }

    fn bare(self) -> Self {
        Self {
            bare_lists: true,
            list_has_error: false,
            plan_shows_approved: false,
            order: Order::OldestFirst,
            aggregates: Aggregates::Bare,
            pending_key: "pending",
            ..self
        }
    }

    fn other_aggregates(self) -> Self {
        Self {
            aggregates: Aggregates::Named,
            stats_follow_filters: false,
            refuses_bad_instants: false,
            protections_allowed: false,
            foreign_status: 403,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_switch_has_at_least_two_states() {
        let variants: Vec<Variant> = (0..Variant::count()).map(Variant::number).collect();
        let mut states: Vec<BTreeSet<String>> = vec![BTreeSet::new(); 27];
        for variant in &variants {
            let text = format!("{variant:#?}");
            let fields: Vec<String> = joined_fields(&text);
            assert_eq!(
                fields.len(),
                states.len(),
                "a switch was added: count it here"
            );
            for (seen, field) in states.iter_mut().zip(fields) {
                seen.insert(field);
            }
        }
        for seen in &states {
            assert!(seen.len() > 1, "only one state: {seen:?}");
        }
    }

    /// Lines of the debug text, one per field (deeper lines are joined to theirs).
    fn joined_fields(text: &str) -> Vec<String> {
        let mut fields: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("    ")) {
            match fields.last_mut() {
                Some(last) if line.starts_with("     ") || line.starts_with("    )") => {
                    last.push_str(line);
                }
                _ => fields.push(line.to_owned()),
            }
        }
        fields
    }

    #[test]
    fn numbers_wrap_and_describe_themselves() {
        assert_eq!(Variant::number(Variant::count()), Variant::number(0));
        let texts: BTreeSet<&str> = (0..Variant::count())
            .map(|n| Variant::number(n).describe())
            .collect();
        assert_eq!(texts.len(), DESCRIPTIONS.len());
    }
}
