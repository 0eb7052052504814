//! Two processes on one folder.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use bytes::Bytes;
use strandline::{
    store::{Key, Options, Outcome, Store, path},
    types::MetadataIndex,
};

use crate::{conformance::count_up, open};

const FOLDER: &str = "STRANDLINE_TEST_FOLDER";
const COUNTS: u32 = 40;
const RACES: u64 = 60;

async fn bucket(folder: &Path) -> Store {
    open(&format!("file://{}", folder.display()), &Options::default()).await
}

/// This test binary again, to run one of the `child_` tests.
fn child(test: &str, folder: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([&format!("processes::{test}"), "--exact", "--ignored", "--quiet"]);
    command.env(FOLDER, folder).stdout(std::process::Stdio::null()).spawn().unwrap()
}

fn race(index: u64) -> Key {
    path::log_entry(MetadataIndex(index))
}

/// Races for every key; the keys won are those that hold `name`.
async fn run_races(store: &Store, name: &'static str) {
    for index in 0..RACES {
        match store.create(&race(index), vec![Bytes::from_static(name.as_bytes())]).await {
            Outcome::Done(_) => {
                assert_eq!(store.get(&race(index)).await.unwrap().bytes, name);
            }
            Outcome::Refused => {
                assert_ne!(store.get(&race(index)).await.unwrap().bytes, name);
            }
            Outcome::Unknown(failure) => panic!("{failure}"),
        }
    }
}

#[tokio::test]
async fn two_processes_on_one_folder_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = bucket(folder.path()).await;
    let start = store.create(&path::lease(), vec![Bytes::from("0 0")]).await;
    assert!(matches!(start, Outcome::Done(_)));
    let mut other = child("child_counts_and_races", folder.path());
    count_up(&store, &path::lease(), COUNTS).await;
    run_races(&store, "parent").await;
    assert!(other.wait().unwrap().success(), "the other process failed");
    let last = store.get(&path::lease()).await.unwrap().bytes;
    assert!(last.starts_with(format!("{} ", 2 * COUNTS).as_bytes()), "{last:?}");
}

#[tokio::test]
#[ignore = "the other process of two_processes_on_one_folder_lose_nothing"]
async fn child_counts_and_races() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let store = bucket(Path::new(&folder)).await;
    count_up(&store, &path::lease(), COUNTS).await;
    run_races(&store, "child").await;
}

#[tokio::test]
async fn a_killed_writer_leaves_whole_objects_and_no_drafts() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = child("child_writes_for_ever", folder.path());
    let drafts = || {
        let names = fs::read_dir(folder.path().join(".strandline")).into_iter().flatten();
        names.filter(|e| e.as_ref().unwrap().file_name() != "lock").count()
    };
    while !folder.path().join(race(3).as_str()).exists() || drafts() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(writer.try_wait().unwrap().is_none(), "the writer ended");
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    let store = bucket(folder.path()).await;
    assert_eq!(drafts(), 0, "what the dead writer left is swept");
    for listed in store.list(&path::log_prefix(), None).await.unwrap().listed {
        assert_eq!(store.get(&listed.key).await.unwrap().bytes.len(), 4 << 20, "{}", listed.key);
    }
}

#[tokio::test]
#[ignore = "the other process of a_killed_writer_leaves_whole_objects_and_no_drafts"]
async fn child_writes_for_ever() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let store = bucket(Path::new(&folder)).await;
    for index in 0.. {
        let body = vec![Bytes::from(vec![7; 4 << 20])];
        assert!(matches!(store.create(&race(index), body).await, Outcome::Done(_)));
        if index > 3 {
            store.delete(&race(index - 3)).await.unwrap();
        }
    }
}
