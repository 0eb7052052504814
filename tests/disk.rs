//! A disk that fails under a running broker and comes back: the incarnation ends, nothing is
//! acknowledged that is not kept, and a new one goes on without a restart (correctness.md H12).

// A test that cannot go on says so by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout
)]
#![allow(clippy::needless_pass_by_value, clippy::let_underscore_must_use)]

#[path = "disk/away.rs"]
mod away;
#[path = "disk/stalled.rs"]
mod stalled;
mod support;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use strandline::{
    broker::{self, Ended, StopAsked},
    client::{Connection, Error},
    config::Settings,
    env::{
        Env,
        disk::{Disk, DiskFile, FileDisk},
    },
    http::Trouble,
};
use support::{
    process::free_port,
    topics::{self, batch, read_all},
};
use tokio::sync::watch;

/// Holds syncs back from its beginning to its end.
#[derive(Debug, Default)]
struct Stall {
    on: Mutex<bool>,
    over: Condvar,
}

impl Stall {
    fn begin(&self) {
        *self.on.lock().unwrap() = true;
    }

    fn end(&self) {
        *self.on.lock().unwrap() = false;
        self.over.notify_all();
    }

    fn pass(&self) {
        let on = self.on.lock().unwrap();
        drop(self.over.wait_while(on, |on| *on).unwrap());
    }
}

/// The machine's disk, until it is broken: then every write and sync is an error.
#[derive(Debug)]
struct Brittle {
    broken: Arc<AtomicBool>,
    stall: Arc<Stall>,
}

#[derive(Debug)]
struct BrittleFile {
    broken: Arc<AtomicBool>,
    stall: Arc<Stall>,
    file: Arc<dyn DiskFile>,
}

fn check(broken: &AtomicBool) -> io::Result<()> {
    // EIO, as a failing device gives it.
    if broken.load(Ordering::SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
}

impl Disk for Brittle {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        FileDisk.create_folder(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        FileDisk.list(folder)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = FileDisk.open(path, create)?;
        let (broken, stall) = (Arc::clone(&self.broken), Arc::clone(&self.stall));
        Ok(Arc::new(BrittleFile { broken, stall, file }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        FileDisk.read(path)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        check(&self.broken)?;
        FileDisk.replace(path, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(&self.broken)?;
        FileDisk.rename(from, to)
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        check(&self.broken)?;
        FileDisk.delete(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        check(&self.broken)?;
        FileDisk.sync_folder(folder)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        FileDisk.lock(path)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        FileDisk.free_bytes(folder)
    }
}

impl DiskFile for BrittleFile {
    fn write_at(&self, position: u64, parts: &[Bytes]) -> io::Result<()> {
        check(&self.broken)?;
        self.file.write_at(position, parts)
    }

    fn read_at(&self, position: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(position, into)
    }

    fn sync(&self) -> io::Result<()> {
        self.stall.pass();
        check(&self.broken)?;
        self.file.sync()
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        check(&self.broken)?;
        self.file.preallocate(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// A broker on a brittle disk.
struct Running {
    _root: tempfile::TempDir,
    address: String,
    broken: Arc<AtomicBool>,
    stall: Arc<Stall>,
    ask: watch::Sender<StopAsked>,
    ended: tokio::task::JoinHandle<Result<Ended, broker::Error>>,
}

fn start() -> Running {
    let root = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let settings = Settings {
        bucket: Some(format!("file://{}", root.path().join("bucket").display())),
        wal_dir: Some(root.path().join("wal")),
        kafka_listen: Some(address.clone()),
        http_listen: Some(format!("127.0.0.1:{}", free_port())),
        ..Settings::default()
    };
    let config = settings.resolve(std::iter::empty(), |_| Ok(Vec::new())).unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let stall = Arc::new(Stall::default());
    let disk = Brittle { broken: Arc::clone(&broken), stall: Arc::clone(&stall) };
    let env = Env { disk: Arc::new(disk), ..Env::real() };
    let (ask, asked) = watch::channel(StopAsked::No);
    let trouble = Trouble::new(Arc::clone(&env.clock));
    let ended = tokio::spawn(broker::run(config, env, asked, trouble, &|_| {}));
    Running { _root: root, address, broken, stall, ask, ended }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_incarnation_and_the_next_goes_on_when_it_takes_writes() {
    let Running { _root, address, broken, ask, ended, .. } = start();
    let mut client = topics::connect(&address).await;
    topics::create(&mut client, "t", 1, &[]).await;
    let mut kept = 0;
    for _ in 0..10 {
        client.produce("t", 0, batch(&["kept"])).await.unwrap();
        kept += 1;
    }
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let lost = client.produce("t", 0, batch(&["not acknowledged"])).await;
        match lost {
            Ok(ack) => panic!("acknowledged on a broken disk: {ack:?}"),
            Err(Error::Refused(code)) => assert!([3, 5, 6, 7, 19, 56].contains(&code), "{code}"),
            Err(_) => client = topics::connect(&address).await,
        }
    }
    broken.store(false, Ordering::SeqCst);
    let began = Instant::now();
    let back = loop {
        let mut client = Connection::open(&address, "test").await.unwrap();
        match client.produce("t", 0, batch(&["after"])).await {
            Ok(ack) => break ack.base_offset.0,
            Err(_) if began.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("still refused: {error}"),
        }
    };
    let mut client = topics::connect(&address).await;
    let read = read_all(&mut client, "t", 0).await;
    let values = |text: &str| read.iter().filter(|(_, value)| value == text.as_bytes()).count();
    assert_eq!((values("kept"), values("after")), (kept, 1));
    assert!(back >= 10, "what was acknowledged kept its offsets");
    ask.send_replace(StopAsked::Drain);
    assert!(matches!(ended.await.unwrap().unwrap(), Ended::Drained));
}
