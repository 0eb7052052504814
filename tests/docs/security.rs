//! The start is safe as it comes: secrets stay unsaid, files are private, strangers are kept out.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use crate::support::{
    process::{Setup, free_port},
    s3_double::S3Double,
};

/// What must never be printed, wherever it was put.
const SECRET: &str = "S3CRET-CANARY";
/// Enough for a start and a refusal.
const SOON: Duration = Duration::from_secs(60);

/// Everything in the environment that holds a secret of some store.
const VARIABLES: [&str; 9] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "HTTPS_PROXY_PASSWORD",
];

fn strandline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strandline"));
    command.envs(VARIABLES.map(|name| (name, SECRET))).env("RUST_LOG", "trace");
    command.stdin(Stdio::null());
    command
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_broker_tells_no_secret_though_everything_is_logged_and_refused() {
    let (root, double) = (tempfile::tempdir().unwrap(), S3Double::start().await);
    let mut setup = Setup::on_double(root.path(), &double).with(&["--lease", "3s"]);
    for name in VARIABLES {
        setup.variables.push((name.to_owned(), SECRET.to_owned()));
    }
    setup.variables.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    // At first the credentials are wrong, then they are right.
    double.always(Some((403, "SignatureDoesNotMatch")));
    let mut broker = setup.spawn();
    broker.wait_reason("SignatureDoesNotMatch", SOON);
    double.always(None);
    broker.wait_ready(SOON);
    double.always(Some((403, "ExpiredToken")));
    broker.wait_for("a refusal", SOON, |it| it.log().contains("ExpiredToken"));
    let mut said = broker.log();
    for path in ["/metrics", "/readyz", "/v1/status", "/v1/identity"] {
        said += &broker.get(path).unwrap().1;
    }
    assert!(said.contains("TRACE"), "nothing was traced\n{said}");
    let at = said.find(SECRET).map(|at| &said[at.saturating_sub(300)..at + SECRET.len()]);
    assert_eq!(at, None);
    broker.kill();
}

#[test]
fn a_start_that_fails_tells_no_secret_that_was_put_in_the_wrong_place() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("strandline.toml");
    let wal = root.path().join("wal").display().to_string();
    let in_file = |text: &str| {
        fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file.display().to_string()]
    };
    let flags = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
    let endpoint = |text: &str| flags(&["--bucket", "s3://b", "--s3-endpoint", text]);
    let starts = [
        in_file(&format!("aws-secret-access-key = \"{SECRET}\"\n")),
        in_file(&format!("bucket = \"s3://key:{SECRET}@b/p\"\n")),
        in_file(&format!("[kafka]\n\"ssl.keystore.password\" = \"{SECRET}\"\n")),
        in_file(&format!("bucket = \"memory://\"\nbucket = \"{SECRET}\"\n")),
        flags(&["--bucket", &format!("s3://key:{SECRET}@b/p")]),
        flags(&["--bucket", &format!("az://c/p?sig={SECRET}")]),
        flags(&["--kafka", &format!("ssl.key.password={SECRET}")]),
        endpoint(&format!("http://key:{SECRET}@127.0.0.1:1")),
        endpoint(&format!("http://127.0.0.1:1/?token={SECRET}")),
    ];
    for start in starts {
        for more in [&[][..], &["--check"], &["--check", "--json"], &["--help"]] {
            let ports = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
            let done = strandline()
                .arg("serve")
                .args(["--wal-dir", &wal, "--kafka-listen", &ports[0], "--http-listen", &ports[1]])
                .args(&start)
                .args(more)
                .output()
                .unwrap();
            let said = told(&done);
            let help = more.contains(&"--help");
            assert_eq!(done.status.success(), help, "{start:?} {more:?}\n{said}");
            assert!(!said.contains(SECRET), "{start:?} {more:?} told it\n{said}");
        }
    }
    let in_variable = format!("s3://key:{SECRET}@b/p");
    for more in [&["--help"][..], &[]] {
        let mut command = strandline();
        command.arg("serve").args(more).env("STRANDLINE_BUCKET", &in_variable);
        let done = command.env("STRANDLINE_WAL_DIR", &wal).output().unwrap();
        let said = told(&done);
        assert!(!said.contains(SECRET), "the variable was told\n{said}");
    }
}

/// Every file and folder below `folder` that others than this user may enter, read or write.
fn open_to_others(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o777;
        seen += 1;
        if mode != wanted {
            found.push(format!("{} has {mode:o}", path.display()));
        }
        if metadata.is_dir() {
            seen += open_to_others(&path, found);
        }
    }
    seen
}

#[test]
fn whatever_a_broker_makes_is_private_to_its_user_even_where_all_is_allowed() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("made/by/it");
    let [kafka, http] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    // The widest mask: what is private then is private by itself.
    let script = "umask 000; exec \"$0\" serve --bucket \"$1/bucket\" --wal-dir \"$1/wal\" \
                  --cache-disk 64MiB --kafka-listen \"$2\" --http-listen \"$3\" --roll-after 200ms";
    let mut broker = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_strandline")])
        .arg(&home)
        .args([&kafka, &http])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let bench = |load: &[&str]| {
        let done = strandline()
            .env("RUST_LOG", "off")
            .arg("bench")
            .args(load)
            .args(["--bootstrap", &kafka])
            .output()
            .unwrap();
        done.status.success()
    };
    let began = std::time::Instant::now();
    while !bench(&["produce", "--records", "2000"]) {
        let ended = broker.try_wait().unwrap();
        assert!(ended.is_none() && began.elapsed() < SOON, "no record was taken: {ended:?}");
    }
    assert!(bench(&["consume"]));
    let id = broker.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert!(broker.wait().unwrap().success());
    let mut open = Vec::new();
    let seen = open_to_others(root.path(), &mut open);
    assert!(open.is_empty(), "{}", open.join("\n"));
    assert!(seen > 15, "only {seen} files and folders were looked at");
    for made in ["wal/identity.json", "wal-cache", "bucket/cluster.json", "bucket/data"] {
        assert!(home.join(made).exists(), "there is no {made}");
    }
}

#[test]
fn a_start_says_who_can_connect() {
    let root = tempfile::tempdir().unwrap();
    let private = Setup::folders(root.path()).start();
    assert!(private.log().contains("access  programs on this machine only"), "{}", private.log());
    drop(private);
    let mut setup = Setup::folders(root.path());
    setup.log = root.path().join("open.log");
    let address = format!("0.0.0.0:{}", setup.kafka);
    let advertise = format!("127.0.0.1:{}", setup.kafka);
    let started = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(["serve", "--check", "--bucket", &setup.bucket, "--kafka-listen", &address])
        .args(["--kafka-advertise", &advertise, "--wal-dir"])
        .arg(root.path().join("wal"))
        .args(["--http-listen", &format!("127.0.0.1:{}", setup.http)])
        .output()
        .unwrap();
    let said = told(&started);
    assert!(said.contains("whoever reaches 0.0.0.0:"), "{said}");
    assert!(said.contains("there is no TLS and no password yet"), "{said}");
}
