//! A broker with everything around it that can go wrong: its process, disk, clock and bucket.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::{
    support::{
        installed::cache,
        process::{Broker, Setup},
        s3_double::S3Double,
    },
    trouble::{Step, Trouble},
};

/// How long what has to happen may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// What a broker's disk has room for, where it is a disk of its own.
const DISK: &str = "96M";

/// Which bucket a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The S3 double, which can lie.
    Double,
    /// A folder, which cannot.
    Folder,
}

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) broker: Option<Broker>,
    pub(crate) double: Option<S3Double>,
    pub(crate) faults: u64,
    /// Times that the process ended by itself.
    pub(crate) own_ends: u64,
    /// What this machine cannot do, and was left out.
    pub(crate) left_out: Vec<&'static str>,
    root: PathBuf,
    disk: Option<SmallDisk>,
    clock: Option<PathBuf>,
    paused: bool,
}

impl World {
    /// A running broker; files under `root`.
    pub(crate) async fn start(root: &Path, home: Home) -> Self {
        fs::create_dir_all(root).unwrap();
        let double = match home {
            Home::Double => Some(S3Double::start().await),
            Home::Folder => None,
        };
        let setup = match &double {
            Some(double) => Setup::on_double(root, double),
            None => Setup::folders(root),
        };
        // Small segments and a short lease, so that trouble meets all there is to meet.
        let mut setup =
            setup.with(&["--roll-bytes", "1MiB", "--roll-after", "400ms", "--lease", "6s"]);
        let mut left_out = Vec::new();
        let disk = SmallDisk::mount(&root.join("disk"));
        match &disk {
            Some(disk) => setup.wal = disk.0.join("wal"),
            None => left_out.push("disk: needs root"),
        }
        let clock = faketime();
        match &clock {
            Some(library) => {
                let file = root.join("clock");
                fs::write(&file, "+0").unwrap();
                for (name, value) in [
                    ("LD_PRELOAD", library.display().to_string()),
                    ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
                    ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                ] {
                    setup.variables.push((name.to_owned(), value));
                }
            }
            None => left_out.push("clock: needs libfaketime (scripts/setup chaos)"),
        }
        let broker = Some(setup.start());
        let clock = clock.map(|_| root.join("clock"));
        let root = root.to_owned();
        let (faults, own_ends, paused) = (0, 0, false);
        Self { setup, broker, double, faults, own_ends, left_out, root, disk, clock, paused }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.setup.kafka)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.setup.log).unwrap_or_default()
    }

    /// Goes through one step of a schedule.
    pub(crate) async fn go_through(&mut self, step: &Step) {
        for trouble in &step.troubles {
            self.begin(trouble).await;
        }
        self.watch(step.hold).await;
        for trouble in &step.troubles {
            self.end(trouble);
        }
        self.watch(step.calm).await;
    }

    async fn begin(&mut self, trouble: &Trouble) {
        self.faults += 1;
        match trouble {
            Trouble::Kill(pause) => {
                self.kill();
                tokio::time::sleep(*pause).await;
                self.broker = Some(self.setup.spawn());
            }
            Trouble::Pause => {
                if let Some(broker) = &mut self.broker
                    && broker.ended().is_none()
                {
                    broker.signal("-STOP");
                    self.paused = true;
                }
            }
            Trouble::Drain => self.drain().await,
            Trouble::DiskFull => {
                if let Some(disk) = &self.disk {
                    disk.fill();
                }
            }
            Trouble::DiskReadOnly => {
                if self.disk.is_some() {
                    self.kill();
                    self.disk.as_ref().unwrap().remount("ro");
                    self.broker = Some(self.setup.spawn());
                }
            }
            Trouble::Clock(seconds) => self.set_clock(*seconds),
            Trouble::Lies { .. } | Trouble::Slow(_) => {
                if let Some(double) = &self.double {
                    double.storm(trouble.storm());
                }
            }
            Trouble::Outage => {
                if let Some(double) = &self.double {
                    double.always(Some((503, "ServiceUnavailable")));
                }
            }
        }
    }

    fn end(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Kill(_) | Trouble::Drain => {}
            Trouble::Pause => self.go_on(),
            Trouble::DiskFull => {
                if let Some(disk) = &self.disk {
                    disk.empty();
                }
            }
            Trouble::DiskReadOnly => {
                if self.disk.is_some() {
                    self.kill();
                    self.disk.as_ref().unwrap().remount("rw");
                    self.broker = Some(self.setup.spawn());
                }
            }
            Trouble::Clock(_) => self.set_clock(0),
            Trouble::Lies { .. } | Trouble::Slow(_) => {
                if let Some(double) = &self.double {
                    double.storm(None);
                }
            }
            Trouble::Outage => {
                if let Some(double) = &self.double {
                    double.always(None);
                }
            }
        }
    }

    /// Starts the broker again when it ends by itself, as whoever runs one does.
    async fn watch(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let ended = self.broker.as_mut().is_some_and(|broker| broker.ended().is_some());
            if ended && !self.paused {
                self.own_ends += 1;
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.broker = Some(self.setup.spawn());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn go_on(&mut self) {
        if std::mem::take(&mut self.paused)
            && let Some(broker) = &self.broker
        {
            broker.signal("-CONT");
        }
    }

    fn kill(&mut self) {
        self.paused = false;
        if let Some(broker) = self.broker.take() {
            broker.kill();
        }
    }

    /// SIGTERM; a drain that cannot end is ended by a second one.
    async fn drain(&mut self) {
        let Some(mut broker) = self.broker.take() else { return };
        for _ in 0..2 {
            if broker.ended().is_some() {
                break;
            }
            broker.signal("-TERM");
            let until = Instant::now() + Duration::from_secs(3);
            while broker.ended().is_none() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        drop(broker);
        self.broker = Some(self.setup.spawn());
    }

    fn set_clock(&self, seconds: i64) {
        if let Some(file) = &self.clock {
            fs::write(file, format!("{seconds:+}")).unwrap();
        }
    }

    /// Everything is well again, and the broker serves.
    pub(crate) fn heal(&mut self) {
        if let Some(double) = &self.double {
            double.always(None);
            double.storm(None);
            double.calm();
        }
        if let Some(disk) = &self.disk {
            disk.empty();
            disk.remount("rw");
        }
        self.set_clock(0);
        self.go_on();
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            let ended = self.broker.as_mut().is_none_or(|broker| broker.ended().is_some());
            if ended {
                self.own_ends += 1;
                self.broker = Some(self.setup.spawn());
            }
            let ready =
                |broker: &Broker| broker.get("/readyz").is_some_and(|(code, _)| code == 200);
            if self.broker.as_ref().is_some_and(ready) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The audit of the bucket, as people run it.
    pub(crate) fn fsck(&self) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
        command.args(["fsck", &self.setup.bucket, "--deep", "--json"]);
        if let Some(double) = &self.double {
            command.args(["--s3-endpoint", &double.endpoint()]);
        }
        let variables = self.setup.variables.iter().filter(|(name, _)| name.starts_with("AWS_"));
        command.envs(variables.map(|(name, value)| (name, value))).output().unwrap()
    }

    /// Keeps all there is: the log, the write-ahead log, the bucket.
    pub(crate) fn keep(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        drop(fs::copy(&self.setup.log, folder.join("broker.log")));
        let copy = |from: &Path, to: &str| {
            drop(Command::new("cp").arg("-a").arg(from).arg(folder.join(to)).status());
        };
        copy(&self.setup.wal, "wal");
        match &self.double {
            Some(double) => double.save(&folder.join("bucket")),
            None => copy(&self.root.join("bucket"), "bucket"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.go_on();
        // Before the disk is unmounted.
        drop(self.broker.take());
    }
}

/// A small file system in memory; unmounted when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let option = format!("size={DISK}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at);
        let mounted = command.output().ok()?;
        mounted.status.success().then(|| Self(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        use std::io::Write;
        // Of a read-only one there is none either.
        let Ok(mut file) = fs::File::create(self.ballast()) else { return };
        // Until there is no room.
        while file.write_all(&[1; 64 * 1024]).is_ok() {}
    }

    fn empty(&self) {
        drop(fs::remove_file(self.ballast()));
    }

    fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &option]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// The library that moves a process's clock, where `scripts/setup chaos` has put it.
fn faketime() -> Option<PathBuf> {
    let library = cache().join("faketime/libfaketime.so.1");
    library.exists().then_some(library)
}
