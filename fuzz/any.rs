//! The check of one row of `strandline::hostile`, the one that `STRANDLINE_FUZZ` names, for libFuzzer.
//! With `STRANDLINE_FUZZ=list` it tells the names instead; with `STRANDLINE_FUZZ_SEEDS=FOLDER` it
//! writes each row's good bytes to `FOLDER/NAME/` first.
#![no_main]

use std::{env, fs, path::Path, process, sync::LazyLock};

use strandline::hostile::{self, TARGETS, Target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    if let Some(folder) = env::var_os("STRANDLINE_FUZZ_SEEDS") {
        for target in TARGETS {
            let folder = Path::new(&folder).join(target.name);
            fs::create_dir_all(&folder).expect("the folder of seeds");
            for (number, seed) in (target.seeds)().into_iter().enumerate() {
                fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed");
            }
        }
    }
    let name = env::var("STRANDLINE_FUZZ").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        process::exit(0);
    }
    hostile::find(&name).expect("STRANDLINE_FUZZ names a row of the table, or `list`")
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |bytes: &[u8]| {
    (TARGET.check)(bytes);
});
