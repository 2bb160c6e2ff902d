use super::*;

#[test]
fn nothing_is_tried_again_for_ever() {
    let later = || Verdict::Later("x".to_owned());
    let doubtful = || Verdict::Doubtful("x".to_owned());
    assert_eq!(last_word(doubtful(), 9, 10), doubtful());
    assert!(matches!(last_word(doubtful(), 10, 10), Verdict::Dead(reason) if reason.contains("10 tries")));
    assert_eq!(last_word(later(), 29, 10), later());
    assert!(matches!(last_word(later(), 30, 10), Verdict::Dead(reason) if reason.contains("30 tries")));
    assert_eq!(unread(30, 10), None, "it is read as often as it is handed back");
    assert!(unread(31, 10).is_some(), "it was not handed back: whoever read it did not live to do so");
    assert_eq!(last_word(Verdict::Done, u32::MAX, 10), Verdict::Done);
}

#[test]
fn a_panic_over_one_message_is_a_fault_of_that_message() {
    assert_eq!(unless_it_panics(|| 1), Ok(1));
    for work in [(|| panic!("at {}", 7)) as fn(), || panic!("at 7")] {
        assert!(unless_it_panics(work).is_err_and(|reason| reason.ends_with("at 7")));
    }
}
