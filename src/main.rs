//! The `tardy` command.

fn main() {}
