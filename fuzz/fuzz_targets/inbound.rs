#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| tagtrail_fuzz::inbound(data));

#[cfg(not(fuzzing))]
fn main() {
    println!("cargo +nightly fuzz run inbound");
}
