//! What the embedded store does when another process has it, or its disk is full or read-only.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tardy::store::{Commit, Store, StoreError, Table};

use crate::common::{at, content, names, open, open_quietly, put};

const CHILD: &str = "TARDY_TEST_STORE_CHILD";

/// This test program once more, running one of the `child_*` tests below.
fn child(test: &str, arguments: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = format!("disks::{test}");
    command.args(["--ignored", "--exact", &name, "--nocapture"]);
    command.env(CHILD, arguments).stdout(Stdio::piped());
    command
}

fn line_with(child: &mut Child, wanted: &str) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines
        .map(Result::unwrap)
        .find(|line| line.contains(wanted))
        .unwrap_or_else(|| panic!("the child never said {wanted:?}"))
}

/// `None` when such a test is run by itself.
fn child_argument() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

#[test]
#[ignore = "a child process of other tests"]
fn child_holds_the_lock() {
    let Some(path) = child_argument() else { return };
    let _store = open_quietly(&path);
    println!("holding");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_store_open_elsewhere_names_the_other_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut child = child("child_holds_the_lock", path.to_str().unwrap())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    line_with(&mut child, "holding");
    let error = open(&path).unwrap_err();
    let StoreError::Locked { pid, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(pid, child.id());
    assert!(!error.is_transient());
    drop(child.stdin.take());
    child.wait().unwrap();
    drop(open_quietly(&path));
}

/// Runs a child on a small disk of its own: a tmpfs in a mount namespace. `None` where that is not
/// allowed.
fn on_a_small_disk(test: &str, megabytes: u32) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().to_str().unwrap().to_owned();
    let script = format!("mount -t tmpfs -o size={megabytes}m none {mount} && exec \"$0\" \"$@\"");
    let can_mount = format!("mount -t tmpfs -o size=1m none {mount}");
    let unshare = ["--map-root-user", "--mount", "sh", "-c"];
    let probe = Command::new("unshare")
        .args(unshare)
        .arg(can_mount)
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: no mount namespace here");
        return None;
    }
    let program = child(test, &mount);
    let mut command = Command::new("unshare");
    command.args(unshare).arg(script);
    command.arg(program.get_program()).args(program.get_args());
    command.env(CHILD, mount);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    Some(said)
}

#[test]
#[ignore = "a child process of other tests"]
fn child_fills_its_disk() {
    let Some(disk) = child_argument() else { return };
    let path = disk.join("store");
    let store = open_quietly(&path);
    let mut acknowledged = 0_u32;
    let commit_next = |acknowledged: &mut u32| {
        let mut commit = Commit::default();
        let key = acknowledged.to_be_bytes().to_vec();
        commit.put(Table::Transition, key, vec![7; 3_000]);
        store.commit(&commit).map(|()| *acknowledged += 1)
    };
    for _ in 0..50 {
        commit_next(&mut acknowledged).unwrap();
    }
    assert!(path.join("ballast").exists());
    fill(&disk.join("filler"));
    // The ballast is given up so that what is under way can be recorded.
    for _ in 0..20 {
        commit_next(&mut acknowledged).unwrap();
    }
    assert!(!path.join("ballast").exists());
    fill(&disk.join("filler2"));
    let error = commit_next(&mut acknowledged).unwrap_err();
    assert!(
        matches!(error, StoreError::Full { .. }) && error.is_transient(),
        "{error}"
    );
    assert_eq!(content(&store).unwrap().len(), 71, "reading goes on");
    let error = store.snapshot(at(1)).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    // A full disk is no damage.
    drop(store);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(names(&path), ["live", "tardy.lock"]);
    // And once there is space everything goes on.
    fs::remove_file(disk.join("filler")).unwrap();
    fs::remove_file(disk.join("filler2")).unwrap();
    let store = open_quietly(&path);
    put(&store, Table::Alert, b"a", b"1");
    assert_eq!(content(&store).unwrap().len(), 72);
    assert!(path.join("ballast").exists());
    println!("done");
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    if let Some(text) = on_a_small_disk("child_fills_its_disk", 32) {
        assert!(text.contains("done"), "{text}");
    }
}

#[test]
#[ignore = "a child process of other tests"]
fn child_may_not_grow_its_file() {
    let Some(path) = child_argument() else { return };
    let store = open_quietly(&path);
    for n in 0..u32::MAX {
        let mut commit = Commit::default();
        for part in 0..4_u8 {
            let mut key = n.to_be_bytes().to_vec();
            key.push(part);
            commit.put(Table::Transition, key, vec![part; 2_000]);
        }
        match store.commit(&commit) {
            Ok(()) => println!("acknowledged {n}"),
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                println!("full at {n}");
                // It tried to go on, and either reads the truth or says again why not.
                match store.get(Table::Transition, &[0, 0, 0, 0, 0]) {
                    Ok(found) => assert_eq!(found, Some(vec![0; 2_000])),
                    Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error}"),
                }
                return;
            }
        }
    }
}

/// Sled itself runs into the limit here, in the middle of a write: quotas do not show in free
/// space.
#[test]
fn a_limit_that_strikes_within_sled_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open_quietly(&path));
    let program = child("child_may_not_grow_its_file", path.to_str().unwrap());
    // In blocks of 512 bytes: 3 MiB. Without the trap the signal would end the process.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 6144; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .env(CHILD, &path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("full at"), "{text}\n{errors}");
    let acknowledged = text.matches("acknowledged").count();
    assert!(acknowledged > 50, "{text}");
    let opened = open(&path).unwrap();
    assert_eq!(opened.notices, []);
    let found = content(&opened.store).unwrap().len() - 1;
    assert_eq!(found % 4, 0, "half a commit");
    assert!(found / 4 >= acknowledged, "{found} of {acknowledged}");
}

#[test]
#[ignore = "a child process of other tests"]
fn child_finds_its_disk_read_only() {
    let Some(disk) = child_argument() else { return };
    let path = disk.join("store");
    put(&open_quietly(&path), Table::Alert, b"a", b"1");
    // Sled's last thread may still have its file open for a moment after the store was dropped: until then
    // the disk is busy and cannot become read-only.
    let is_read_only = (0..100).any(|_| {
        let remount = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&disk)
            .stderr(std::process::Stdio::null())
            .status();
        let is_done = remount.unwrap().success();
        if !is_done {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        is_done
    });
    assert!(is_read_only, "the disk stays busy");
    for path in [&path, &disk.join("new")] {
        let error = open(path).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    }
    println!("done");
}

#[test]
fn a_read_only_disk_is_said() {
    if let Some(text) = on_a_small_disk("child_finds_its_disk_read_only", 32) {
        assert!(text.contains("done"), "{text}");
    }
}
