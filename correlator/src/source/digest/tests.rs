use super::*;
use crate::source::Origin;
use crate::source::normalize::tests::normalizer;

/// Signed by a key of nobody's, made for this, over the text that CloudTrail's documentation gives.
const DIGEST: &[u8] = include_bytes!("digest.json");
const SIGNATURE: &str = include_str!("signature.txt");
const KEYS: &str = include_str!("keys.json");

#[test]
fn a_signature_holds_for_one_digest_only() {
    let (digest, keys) = (Digest::parse(DIGEST).unwrap(), PublicKeys::parse(KEYS).unwrap());
    assert_eq!(digest.is_signed(Some(SIGNATURE), &keys), Signed::Yes);
    assert_eq!(digest.is_signed(Some(&SIGNATURE.to_ascii_uppercase()), &keys), Signed::Yes);
    assert_eq!(digest.is_signed(None, &keys), Signed::No);
    assert_eq!(digest.is_signed(Some("xyz"), &keys), Signed::No);
    assert_eq!(digest.is_signed(Some(&SIGNATURE[2..]), &keys), Signed::No);
    assert_eq!(digest.is_signed(Some(SIGNATURE), &PublicKeys::default()), Signed::Unknown);
    // One hash of one log file, changed.
    let text = String::from_utf8(DIGEST.to_vec()).unwrap();
    let forged = text.replacen("\"hashValue\":\"c", "\"hashValue\":\"d", 1);
    assert_ne!(forged, text);
    assert_eq!(Digest::parse(forged.as_bytes()).unwrap().is_signed(Some(SIGNATURE), &keys), Signed::No);
}

#[test]
fn a_digest_knows_its_place_its_files_and_the_one_before() {
    let digest = Digest::parse(DIGEST).unwrap();
    let (bucket, before) = digest.previous().unwrap();
    assert!(before.ends_with("20261102T090000Z.json.gz") && bucket == "trail");
    assert_eq!(digest.altered_previous(b"before"), None);
    assert_eq!(digest.altered_previous(b"other"), Some(hex(&Sha256::digest(b"other"))));
    assert_eq!(digest.log_files.len(), 1);
    assert!(digest.log_files[0].is_sha256());
    assert!(digest.is_at("trail", &before.replace("T09", "T10")));
    assert!(!digest.is_at("trail", before));
    let first = r#"{"awsAccountId":"1","digestEndTime":"t","digestS3Bucket":"b","digestS3Object":"o","logFiles":[],
                    "previousDigestS3Object":null,"previousDigestHashValue":null,"previousDigestSignature":null}"#;
    assert_eq!(Digest::parse(first.as_bytes()).unwrap().previous(), None);
    assert!(Digest::parse(b"{}").unwrap_err().contains("no CloudTrail digest"));
}

#[test]
fn findings_are_events_that_rules_can_read() {
    let digest = Digest::parse(DIGEST).unwrap();
    let file = &digest.log_files[0];
    for (finding, action) in [
        (Finding::FileMissing(file), "log_file_missing"),
        (Finding::FileAltered(file, "00"), "log_file_altered"),
        (Finding::PreviousMissing, "log_digest_missing"),
        (Finding::PreviousAltered("00"), "log_digest_altered"),
        (Finding::SignatureInvalid, "log_digest_altered"),
        (Finding::FileUnchecked(file, "it ends too early"), "log_file_unchecked"),
        (Finding::SignatureUnknown, "log_digest_unchecked"),
        (Finding::Misplaced, "log_digest_altered"),
    ] {
        let text = digest.event(finding);
        assert_eq!(text, digest.event(finding), "the same finding is the same event");
        let record = normalizer().read(Origin::Sensor, text).unwrap();
        let document = record.document();
        let at = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/event/action"), action);
        assert_eq!(
            (at("/cloud/account/id"), at("/cloud/region")),
            ("111122223333".into(), "eu-west-1".into())
        );
        assert_eq!(at("/data_stream/dataset"), DATASET);
        assert!(at("/file/path").as_str().unwrap().starts_with("s3://trail/AWSLogs/"));
    }
}

#[test]
fn keys_that_are_none_are_said() {
    for (text, says) in
        [("[]", "list-public-keys"), (r#"{"PublicKeyList":[{"Value":"%","Fingerprint":"f"}]}"#, "not base64")]
    {
        let reason = PublicKeys::parse(text).unwrap_err();
        assert!(reason.contains(says), "{reason}");
    }
}
