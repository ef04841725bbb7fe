//! Everything that the fuzz targets begin from, and have found, runs through
//! them here too. Those of the configuration are run by the tests of the
//! command line.

use std::{fs, path::Path};

#[expect(unreachable_pub, reason = "to the fuzzer it is a library")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_seed_passes_its_target() {
    for (name, target) in
        [("sse", targets::sse as fn(&[u8])), ("message", targets::message), ("http", targets::http)]
    {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
        let seeds = fs::read_dir(seeds).expect("there are seeds");
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("the folder can be read").path();
            target(&fs::read(path).expect("the seed can be read"));
            count += 1;
        }
        assert!(count > 2, "{name} has seeds");
    }
}
