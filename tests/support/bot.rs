//! The real program as a process, in a folder of its own, with a webhook that keeps what it is told.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const TOKEN: &str = "dctl_proc-token-0123456789abcdef";

/// A folder with a configuration, and what the program is given.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) environment: Vec<(String, String)>,
}

impl Home {
    pub(crate) fn new(service: &str, rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self {
            folder,
            environment: vec![("DAGCTL_TOKEN".to_owned(), TOKEN.to_owned())],
        };
        home.write("tardy.toml", service);
        home.write("rules.toml", rules);
        home
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The program in this folder, with nothing else from outside.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tardy"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear();
        command.env("TMPDIR", self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Starts `tardy run`; the log is appended to `log`.
    pub(crate) fn start(&self) -> Bot {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut command = self.command(&["-vv", "run", "--log", "json"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Bot {
            child: command.spawn().unwrap(),
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Every file below the folder but the configuration, as bytes.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.folder.path(), &mut files);
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(bytes) = std::fs::read(&path) {
            files.push((path, bytes));
        }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It ended so, and said all of this.
    pub(crate) fn assert(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(
                self.out.contains(part) || self.err.contains(part),
                "{part} in {self:?}"
            );
        }
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }
}

/// A running bot; killed when dropped.
pub(crate) struct Bot {
    child: Child,
}

impl Bot {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end; the exit code.
    pub(crate) async fn end(&mut self) -> i32 {
        let mut code = None;
        until(20, "the bot ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
pub(crate) async fn until(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(
            Instant::now() < end,
            "waited {seconds} s in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
