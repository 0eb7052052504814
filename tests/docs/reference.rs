//! `docs/configuration.md`, made from the settings as the program declares them.

use std::{collections::BTreeMap, fmt::Write};

use clap::{Arg, CommandFactory, FromArgMatches};
use strandline::{
    cli,
    config::{Config, Settings},
};

use super::root;

/// Makes the page anew; named in the message of the test that fails.
const WRITE: &str = "STRANDLINE_TEST_WRITE_DOCS=1 cargo test --test docs reference";

const HEAD: &str = "\
# Configuration

Made from the program's own declarations; a test holds the two together.
";

const ORDER: &str = "
Every setting is a flag of `strandline serve`, a variable `STRANDLINE_<NAME>` and a key of a TOML
file, and counts in that order: a flag wins over its variable, a variable over the file, the file
over the default. Unknown flags, variables and keys are errors. `strandline serve --help` says what
this page says, `-h` says it in short, and `strandline serve --check` with the same settings tells
whether a broker could start with them.

```toml
# strandline.toml, for: strandline serve --config strandline.toml
bucket = \"s3://my-bucket/cluster\"
wal-dir = \"/var/lib/strandline/wal\"
roll-after = \"5s\"

[kafka]
\"auto.create.topics.enable\" = false
```

Sizes are written `512KiB`, `64MiB`, `4GiB`; times `500ms`, `10s`, `5m`, `1h`.

Kafka's own settings, of topics and of brokers, are in
[configuration-topics.md](configuration-topics.md). Credentials of the bucket are no settings of
Strandline: they come by the chain of AWS (environment, profile, SSO, web identity, container,
instance), or from the environment for Google and Azure. `RUST_LOG` chooses how much is logged.
";

/// `serve` as the program declares it.
fn serve() -> clap::Command {
    cli::Command::command().find_subcommand("serve").unwrap().clone()
}

/// What `serve` takes, by heading, in order.
fn headings() -> Vec<(String, Vec<Arg>)> {
    let mut headings: Vec<(String, Vec<Arg>)> = Vec::new();
    for argument in serve().get_arguments().filter(|it| it.get_id() != "help") {
        let heading = argument.get_help_heading().unwrap_or("").to_owned();
        match headings.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, arguments)) => arguments.push(argument.clone()),
            None => headings.push((heading, vec![argument.clone()])),
        }
    }
    headings
}

fn flag(argument: &Arg) -> String {
    argument.get_long().unwrap().to_owned()
}

/// Its first paragraph without the default, the default, and what follows.
fn texts(argument: &Arg) -> (String, Option<String>, String) {
    let whole = argument.get_long_help().or(argument.get_help()).unwrap().to_string();
    let (first, more) = whole.split_once("\n\n").unwrap_or((&whole, ""));
    let (first, more) = (first.replace('\n', " "), more.replace('\n', " "));
    match first.split_once(" [default: ") {
        Some((text, default)) => {
            (text.to_owned(), Some(default.trim_end_matches(']').to_owned()), more)
        }
        None => (first, None, more),
    }
}

/// How the file names it, if it does.
fn key(argument: &Arg) -> Option<String> {
    let flag = flag(argument);
    // A table fits no key but that of a table: any other answer means that the key is known.
    match toml::from_str::<Settings>(&format!("{flag} = {{}}")) {
        Ok(_) => Some(format!("`[{flag}]`")),
        Err(error) if error.message().contains("unknown field") => None,
        Err(_) => Some(format!("`{flag} = …`")),
    }
}

/// What stands in a table of `HOST:PORT` and the like: flags that take nothing have no value.
fn value_name(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or_else(String::new, |name| format!(" {name}"))
}

fn page() -> String {
    let mut page = format!("{HEAD}{ORDER}");
    for (heading, arguments) in headings() {
        writeln!(page, "\n## {heading}").unwrap();
        for argument in &arguments {
            let (text, default, more) = texts(argument);
            let flag = flag(argument);
            writeln!(page, "\n### `--{flag}{}`\n", value_name(argument)).unwrap();
            let mut names = Vec::new();
            names.extend(argument.get_env().map(|it| format!("`{}`", it.to_string_lossy())));
            names.extend(key(argument));
            match default {
                Some(default) if default.contains(' ') => {
                    names.push(format!("default: {default}"));
                }
                Some(default) => names.push(format!("default: `{default}`")),
                None if argument.get_env().is_some() => names.push("default: none".to_owned()),
                None => names.push("on the command line only".to_owned()),
            }
            writeln!(page, "{}\n", names.join(" · ")).unwrap();
            writeln!(page, "{}.", text.trim_end_matches('.')).unwrap();
            if !more.is_empty() {
                writeln!(page, "{}", more.trim()).unwrap();
            }
        }
    }
    page
}

#[test]
fn the_reference_of_settings_says_what_the_program_says() {
    let path = root().join("docs/configuration.md");
    if std::env::var_os("STRANDLINE_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/configuration.md is not what the program says: {WRITE}");
}

/// The configuration that these flags alone lead to, or why there is none.
fn resolved(flags: &[String], file: Option<&str>) -> Result<Config, String> {
    let words = ["serve".to_owned()].into_iter().chain(flags.iter().cloned());
    let command = <Settings as clap::Args>::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
    let mut settings = Settings::from_arg_matches(&matches).unwrap();
    settings.config = file.map(|_| "file".into());
    let content = file.unwrap_or_default().as_bytes().to_vec();
    let settled = settings.resolve(std::iter::empty(), |_| Ok(content.clone()));
    settled.map_err(|error| error.to_string())
}

#[test]
fn every_default_that_is_told_is_the_one_that_acts_and_every_setting_acts_from_the_file() {
    let mut defaults = BTreeMap::new();
    for (_, arguments) in headings() {
        for argument in arguments.iter().filter(|argument| argument.get_env().is_some()) {
            defaults.insert(flag(argument), texts(argument).1);
        }
    }
    let silent = format!("{:?}", resolved(&[], None).unwrap());
    let mut checked = 0;
    for (flag, default) in &defaults {
        // With a space in it, it is told in words.
        let Some(value) = default.as_ref().filter(|default| !default.contains(' ')) else {
            continue;
        };
        checked += 1;
        let given = resolved(&[format!("--{flag}"), value.clone()], None);
        assert_eq!(format!("{:?}", given.unwrap()), silent, "--{flag} {value}");
        let bare = value.parse::<u64>().is_ok();
        let quote = if bare { "" } else { "\"" };
        let given = resolved(&[], Some(&format!("{flag} = {quote}{value}{quote}")));
        assert_eq!(format!("{:?}", given.unwrap()), silent, "{flag} = {value} in the file");
    }
    assert!(checked > 12, "only {checked} defaults were tried");
}

#[test]
fn every_setting_has_a_heading_a_variable_and_words_on_when_to_change_it() {
    for (heading, arguments) in headings() {
        assert!(!heading.is_empty(), "without heading: {:?}", arguments.first().map(flag));
        for argument in &arguments {
            let (text, _, more) = texts(argument);
            assert!(!text.is_empty() && !more.is_empty(), "--{} wants two texts", flag(argument));
            let takes_values = argument.get_action().takes_values();
            assert_eq!(argument.get_env().is_some(), takes_values, "--{}", flag(argument));
        }
    }
}

#[test]
fn help_never_shows_what_a_variable_holds() {
    for (_, arguments) in headings() {
        for argument in arguments.iter().filter(|argument| argument.get_env().is_some()) {
            assert!(argument.is_hide_env_values_set(), "--{} shows it", flag(argument));
        }
    }
}
