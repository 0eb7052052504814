//! A broker and the commands that talk to it.
#![allow(unreachable_pub, reason = "the other files of this binary use it")]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use crate::support::process::{Broker, Setup};

/// Runs the program; what it reads is `input`.
pub fn strandline(bootstrap: &str, arguments: &[&str], input: &[u8]) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_strandline"))
        .args(arguments)
        .env("STRANDLINE_BOOTSTRAP", bootstrap)
        .env("CLICOLOR_FORCE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read everything, which is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Done(output)
}

/// A command that has ended.
pub struct Done(Output);

impl Done {
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// It went well; what it printed.
    pub fn good(&self) -> String {
        assert_eq!(self.code(), 0, "{}{}", self.out(), self.err());
        self.out()
    }

    /// It went well and printed this.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.good()).unwrap()
    }

    /// It ended with this code and these words.
    pub fn bad(&self, code: i32, says: &[&str]) {
        let said = self.err();
        assert_eq!(self.code(), code, "{said}");
        assert!(said.starts_with("error: "), "{said}");
        for words in says {
            assert!(said.contains(words), "{words:?} is not in {said:?}");
        }
        for noise in ["Error {", "Os {", "Refused(", "panicked", "Some("] {
            assert!(!said.contains(noise), "{said}");
        }
    }
}

/// A broker on folders of its own.
pub struct World {
    pub broker: Broker,
    pub root: tempfile::TempDir,
}

impl World {
    pub fn start() -> Self {
        Self::with(&[])
    }

    pub fn with(arguments: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let broker = Setup::folders(root.path()).with(arguments).start();
        Self { broker, root }
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        self.feed(arguments, b"")
    }

    pub fn feed(&self, arguments: &[&str], input: &[u8]) -> Done {
        strandline(&self.broker.kafka(), arguments, input)
    }
}
