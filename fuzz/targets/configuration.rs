//! Configurations.
#![no_main]

use humdinger::train::Settings;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = Settings::parse(text).map_err(drop).and_then(|settings| settings.resolve().map_err(drop)) else {
        return;
    };
    // What is written is read as it was.
    let written = config.to_toml().expect("what was read as text is text");
    let again = Settings::parse(&written).expect("it is what we write").resolve().expect("it made sense before");
    assert_eq!(config, again);
});
