//! The `tardy` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic is a bug of ours: it says so, and has an exit code of its own.
    match std::panic::catch_unwind(tardy::cli::main) {
        Ok(code) => code.into(),
        Err(_) => tardy::cli::ExitCode::Bug.into(),
    }
}
