#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bitbucket_connection_operator::kms::properties::kms_body(data));
