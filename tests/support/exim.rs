//! A real mail server: Debian's Exim, started for every connection as the user the tests run as (or as nobody, when
//! that is root), with a configuration and a spool of its own, delivering into folders.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

const NOBODY: u32 = 65_534;

/// Longest wait for a dialogue to end, deliveries included.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Exim {
    pub(crate) addr: SocketAddr,
    folder: tempfile::TempDir,
    begun: Receiver<()>,
    ended: Receiver<()>,
}

impl Exim {
    /// `None`: there is no Exim on this machine.
    pub(crate) fn start() -> Option<Self> {
        let program = ["/usr/sbin/exim4", "/usr/sbin/exim"].map(Path::new);
        let program = program.into_iter().find(|program| program.is_file())?;
        // Spools are synced often; in memory that costs nothing.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.unwrap();
        let root = rustix::process::getuid().is_root();
        let (user, group) = if root {
            (NOBODY, NOBODY)
        } else {
            let group = rustix::process::getgid();
            (rustix::process::getuid().as_raw(), group.as_raw())
        };
        let config = folder.path().join("exim.conf");
        fs::write(&config, configuration(folder.path(), user, group)).unwrap();
        for name in ["spool", "log", "mail"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["spool", "log", "mail", "exim.conf", ""] {
            chown(folder.path().join(name), Some(user), Some(group)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (on_begin, begun) = channel();
        let (end, ended) = channel();
        let mut command = Command::new(program);
        command.arg("-C").arg(&config).args(["-bs", "-odi"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if root {
            command.uid(user).gid(group);
        }
        thread::spawn(move || listen(&listener, command, &on_begin, &end));
        Some(Self {
            addr,
            folder,
            begun,
            ended,
        })
    }

    /// What has come into the mailboxes, when every dialogue has ended: recipient and mail, oldest first.
    pub(crate) fn mails(self) -> Vec<(String, Vec<u8>)> {
        for () in self.begun.try_iter() {
            let ended = self.ended.recv_timeout(PATIENCE);
            ended.expect("the connection is closed and Exim ends");
        }
        let mut mails = Vec::new();
        for person in ["lead", "oncall"] {
            let folder = self.folder.path().join("mail").join(person).join("new");
            let files = fs::read_dir(&folder)
                .unwrap_or_else(|error| panic!("{}: {error}: {}", folder.display(), self.log()));
            let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
            files.sort_by_key(|file| fs::metadata(file).and_then(|file| file.modified()).ok());
            let of = files.into_iter().map(|file| fs::read(file).unwrap());
            mails.extend(of.map(|mail| (format!("{person}@example.com"), mail)));
        }
        mails
    }

    fn log(&self) -> String {
        let log = self.folder.path().join("log/mainlog");
        fs::read_to_string(log).unwrap_or_default()
    }
}

fn configuration(folder: &Path, user: u32, group: u32) -> String {
    let folder = folder.display();
    format!(
        "primary_hostname = relay.example\n\
         exim_user = {user}\n\
         exim_group = {group}\n\
         never_users =\n\
         deliver_drop_privilege\n\
         keep_environment =\n\
         spool_directory = {folder}/spool\n\
         log_file_path = {folder}/log/%slog\n\
         tls_advertise_hosts =\n\
         host_lookup =\n\
         untrusted_set_sender = *\n\
         local_from_check = false\n\
         acl_smtp_rcpt = recipient\n\
         begin acl\n\
         recipient:\n\
         \x20 deny message = no such user\n\
         \x20      local_parts = gone\n\
         \x20 accept\n\
         begin routers\n\
         people:\n\
         \x20 driver = accept\n\
         \x20 local_parts = lead : oncall\n\
         \x20 transport = folders\n\
         begin transports\n\
         folders:\n\
         \x20 driver = appendfile\n\
         \x20 directory = {folder}/mail/$local_part_data\n\
         \x20 maildir_format\n\
         \x20 create_directory\n"
    )
}

fn listen(listener: &TcpListener, mut command: Command, begin: &Sender<()>, end: &Sender<()>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if begin.send(()).is_err() {
            return;
        }
        let child = command.spawn().expect("Exim starts");
        let end = end.clone();
        thread::spawn(move || {
            converse(&stream, child);
            let _ = end.send(());
        });
    }
}

/// Passes on what either says, until both are done.
fn converse(stream: &TcpStream, mut child: std::process::Child) {
    let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut heard = stream.try_clone().unwrap();
    let mut said = stream.try_clone().unwrap();
    let hearing = thread::spawn(move || pass(&mut heard, &mut input));
    let _ = pass(&mut output, &mut said);
    let _ = stream.shutdown(Shutdown::Both);
    let _ = hearing.join();
    let _ = child.wait();
}

/// At once, as it comes: what the system moves by itself between pipes and sockets may wait for more.
fn pass(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; 8_192];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}
