//! `tardy store`

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Context, ExitCode, state};
use crate::app::clock::{Clock as _, SystemClock};
use crate::app::start;
use crate::store::sled::{SledOptions, SledStore};
use crate::store::{StoreError, Table, records};

/// Looks after the store.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
All of these need the store for themselves: stop the bot first.

Examples:
  tardy store verify
  tardy store backup tardy-2026-11-24.backup
  tardy store restore tardy-2026-11-24.backup")]
pub(super) enum StoreCommand {
    /// Read every record and check that it is what it should be
    Verify,
    /// Give back the space that changes have left behind
    Compact,
    /// Write all records to a file
    Backup {
        /// The file; one that is there is replaced once the new one is complete
        file: PathBuf,
    },
    /// Make the content of a backup the store; the store that is there is kept beside it
    Restore {
        /// The backup, or a snapshot
        file: PathBuf,
    },
}

pub(super) fn run(command: &StoreCommand, context: &Context) -> ExitCode {
    let config = match state::load_config(context) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let Some((path, _)) = start::store_path(&config) else {
        context
            .out
            .error("[store] kind \"postgres\" is not built yet");
        return ExitCode::Failed;
    };
    let options = SledOptions::at(SystemClock::default().now());
    let done = match command {
        StoreCommand::Verify => verify(&path, options, context),
        StoreCommand::Compact => compact(&path, options, context),
        StoreCommand::Backup { file } => backup(&path, options, file, context),
        StoreCommand::Restore { file } => restore(&path, options, file, context),
    };
    done.unwrap_or_else(|error| {
        context.out.error(&error.to_string());
        ExitCode::Failed
    })
}

/// Nothing here may create a store, but for a restore.
fn must_exist(path: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    Err(StoreError::Io {
        path: path.to_owned(),
        why: "there is none".into(),
    })
}

/// Opens a store that must be there.
fn open(path: &Path, options: SledOptions, context: &Context) -> Result<SledStore, StoreError> {
    must_exist(path)?;
    let opened = SledStore::open(path, options)?;
    for notice in &opened.notices {
        context.out.note(&notice.to_string());
    }
    Ok(opened.store)
}

fn verify(path: &Path, options: SledOptions, context: &Context) -> Result<ExitCode, StoreError> {
    let store = open(path, options, context)?;
    let mut check = |table: Table, key: &[u8], value: &[u8]| {
        records::check(table, key, value).map_err(|error| error.to_string())
    };
    let verified = store.verify(&mut check)?;
    if context.out.is_json {
        let counts: Vec<_> = verified
            .counts
            .iter()
            .map(|(table, count)| serde_json::json!({ "table": format!("{table:?}"), "records": count }))
            .collect();
        let bad: Vec<_> = verified
            .bad
            .iter()
            .map(|bad| serde_json::json!({ "table": format!("{:?}", bad.table), "key": bad.key, "why": bad.why }))
            .collect();
        context.out.json(&serde_json::json!({
            "tables": counts, "bad": bad, "bad_count": verified.bad_count,
        }));
    } else {
        for (table, count) in &verified.counts {
            context
                .out
                .line(&format!("{:<12} {count} records", format!("{table:?}")));
        }
        for bad in &verified.bad {
            context
                .out
                .error(&format!("{:?} {}: {}", bad.table, bad.key, bad.why));
        }
        if verified.bad_count == 0 {
            context.out.line("all records are good");
        }
    }
    Ok(if verified.bad_count == 0 {
        ExitCode::Fine
    } else {
        ExitCode::Problems
    })
}

fn compact(path: &Path, options: SledOptions, context: &Context) -> Result<ExitCode, StoreError> {
    must_exist(path)?;
    let done = SledStore::compact(path, options)?;
    if context.out.is_json {
        context.out.json(&serde_json::json!({
            "before_bytes": done.before_bytes, "after_bytes": done.after_bytes,
        }));
    } else {
        context.out.line(&format!(
            "{} bytes before, {} after",
            done.before_bytes, done.after_bytes
        ));
    }
    Ok(ExitCode::Fine)
}

fn backup(
    path: &Path,
    options: SledOptions,
    file: &Path,
    context: &Context,
) -> Result<ExitCode, StoreError> {
    let store = open(path, options, context)?;
    let records = store.backup(file, options.opened_at)?;
    if context.out.is_json {
        context
            .out
            .json(&serde_json::json!({ "file": file, "records": records }));
    } else {
        context
            .out
            .line(&format!("{records} records in {}", file.display()));
    }
    Ok(ExitCode::Fine)
}

fn restore(
    path: &Path,
    options: SledOptions,
    file: &Path,
    context: &Context,
) -> Result<ExitCode, StoreError> {
    if let Err(error) = std::fs::File::open(file) {
        context.out.error(&format!(
            "{} cannot be read: {error}; nothing was changed",
            file.display()
        ));
        return Ok(ExitCode::Failed);
    }
    let restored = SledStore::restore(file, path, options)?;
    if context.out.is_json {
        context.out.json(&serde_json::json!({
            "taken_at": restored.taken_at, "records": restored.records, "kept": restored.kept,
        }));
        return Ok(ExitCode::Fine);
    }
    context.out.line(&format!(
        "{} records of {} are the store {} now",
        restored.records,
        restored.taken_at,
        path.display()
    ));
    if let Some(kept) = &restored.kept {
        context.out.line(&format!(
            "the store that was there is kept as {}",
            kept.display()
        ));
    }
    Ok(ExitCode::Fine)
}
